#include "lanes.h"

namespace openelm {
namespace {
#include "vec_scalar.inc"

#include "table.inc"
}  // namespace

const Kernels* scalar_kernels() {
  static constexpr Kernels kKernels = make_kernels("scalar");
  return &kKernels;
}

}  // namespace openelm
