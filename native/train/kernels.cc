#include "kernels.h"

#include <cstring>

#include "../cpu/cpu_info.h"
#include "../cpu/kernels.h"

namespace openelm::train {

// The same choice as the CPU backend makes.
template <>
const Kernels<float>& kernels<float>() {
  const char* name = cpu_kernels().name;
  if (std::strcmp(name, "avx2") == 0) {
    return cpu_info().has_avx512 ? avx512_kernels() : avx2_kernels();
  }
  if (std::strcmp(name, "neon") == 0) return neon_kernels();
  return scalar_kernels();
}

template <>
const Kernels<double>& kernels<double>() {
  return double_kernels();
}

}  // namespace openelm::train
