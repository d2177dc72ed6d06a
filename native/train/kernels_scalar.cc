#include "../simd/lanes.h"
#include "kernels.h"

namespace openelm::train {
namespace {
#include "../simd/vec_scalar.inc"

#include "kernels/float_lanes.inc"

#include "kernels/table.inc"
}  // namespace

const Kernels<float>& scalar_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels("scalar");
  return kKernels;
}

}  // namespace openelm::train
