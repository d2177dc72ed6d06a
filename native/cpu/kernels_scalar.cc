#include "kernels/lanes.h"

namespace openelm {
namespace {
#include "kernels/vec_scalar.h"

#include "kernels/table.h"
}  // namespace

const Kernels* scalar_kernels() {
  static constexpr Kernels kKernels = make_kernels("scalar");
  return &kKernels;
}

}  // namespace openelm
