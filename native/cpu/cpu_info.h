#pragma once

#include <string>
#include <vector>

namespace openelm {

struct CpuInfo {
  int physical_cores = 1;             // that this process may use
  std::vector<std::string> features;  // that the kernels know of
  bool has_avx2 = false;              // with FMA and F16C, and saved by the operating system
  bool has_avx512 = false;            // the foundation, beside all of that
};

const CpuInfo& cpu_info();

}  // namespace openelm
