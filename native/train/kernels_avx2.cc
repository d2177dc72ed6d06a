#include "../simd/lanes.h"
#include "kernels.h"

#ifdef OPENELM_X86

#define OPENELM_TARGET "avx2,fma,f16c"
#include "../simd/target_begin.inc"

namespace openelm::train {
namespace {
#include "../simd/vec_avx2.inc"

#include "kernels/float_lanes.inc"

#include "kernels/table.inc"
}  // namespace

#include "../simd/target_end.inc"

const Kernels<float>& avx2_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels("avx2");
  return kKernels;
}

}  // namespace openelm::train

#endif
