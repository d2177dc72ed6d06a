#include "../cpu/kernels/lanes.h"
#include "kernels.h"

namespace openelm::train {
namespace {
#include "../cpu/kernels/vec_scalar.h"

#include "kernels/float_lanes.h"

#include "kernels/table.h"
}  // namespace

const Kernels<float>& scalar_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels("scalar");
  return kKernels;
}

}  // namespace openelm::train
