#include <math.h>
#include <string.h>

#include "kernels.h"

namespace openelm::train {
namespace {
#include "kernels/vec_double.inc"

#include "kernels/table.inc"
}  // namespace

const Kernels<double>& double_kernels() {
  static constexpr Kernels<double> kKernels = make_kernels("double");
  return kKernels;
}

}  // namespace openelm::train
