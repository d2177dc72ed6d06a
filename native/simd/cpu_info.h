#pragma once

#include <string>
#include <vector>

namespace openelm {

struct CpuInfo {
  int physical_cores = 1;             // that this process may use
  std::vector<std::string> features;  // that the kernels know of
  // Whole sets that kernels are compiled for, usable because the operating system saves their
  // state.
  bool has_avx2 = false;     // AVX2, FMA and F16C
  bool has_avxvnni = false;  // the same and AVX-VNNI
  bool has_avx512 = false;   // AVX2, FMA, F16C and AVX-512 F, BW, VL, DQ and VNNI
};

const CpuInfo& cpu_info();

}  // namespace openelm
