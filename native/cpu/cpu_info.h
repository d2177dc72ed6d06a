#pragma once

#include <string>
#include <vector>

namespace openelm {

struct CpuInfo {
  int physical_cores = 1;             // that this process may use
  std::vector<std::string> features;  // that the kernels know of
  bool has_avx2 = false;              // with FMA and F16C, and saved by the operating system
};

const CpuInfo& cpu_info();

}  // namespace openelm
