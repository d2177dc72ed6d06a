#include "../simd/lanes.h"
#include "kernels.h"

#if defined(__aarch64__) || defined(_M_ARM64)

#include <arm_neon.h>

namespace openelm::train {
namespace {
#include "../simd/vec_neon.inc"

#include "kernels/float_lanes.inc"

#include "kernels/table.inc"
}  // namespace

const Kernels<float>& neon_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels("neon");
  return kKernels;
}

}  // namespace openelm::train

#else

namespace openelm::train {
const Kernels<float>& neon_kernels() { return scalar_kernels(); }
}  // namespace openelm::train

#endif
