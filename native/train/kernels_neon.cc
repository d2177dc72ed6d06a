#include "../simd/lanes.h"
#include "kernels.h"

#ifdef OPENELM_ARM64

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

#endif
