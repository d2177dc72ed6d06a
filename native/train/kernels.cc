#include "kernels.h"

#include <string>

#include "../simd/kernels.h"

namespace openelm::train {

// The same choice as the CPU backend makes, of fewer.
template <>
const Kernels<float>& kernels<float>() {
  const std::string name = cpu_kernels().name;
#if defined(OPENELM_X86)
  if (name == "avx512") return avx512_kernels();
  if (name == "avxvnni" || name == "avx2") return avx2_kernels();
#elif defined(OPENELM_ARM64)
  if (name == "neon") return neon_kernels();
#endif
  return scalar_kernels();
}

template <>
const Kernels<double>& kernels<double>() {
  return double_kernels();
}

}  // namespace openelm::train
