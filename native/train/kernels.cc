#include "kernels.h"

#include <string>

#include "../simd/kernels.h"

namespace openelm::train {

// The same choice as the CPU backend makes, of fewer.
template <>
const Kernels<float>& kernels<float>() {
  const std::string name = cpu_kernels().name;
  if (name == "avx512") return avx512_kernels();
  if (name == "avxvnni" || name == "avx2") return avx2_kernels();
  return name == "neon" ? neon_kernels() : scalar_kernels();
}

template <>
const Kernels<double>& kernels<double>() {
  return double_kernels();
}

}  // namespace openelm::train
