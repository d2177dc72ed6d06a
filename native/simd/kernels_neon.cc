#include "lanes.h"

#ifdef OPENELM_ARM64

namespace openelm {
namespace {
#include "vec_neon.inc"

#include "table.inc"
}  // namespace

const Kernels* neon_kernels() {
  static constexpr Kernels kKernels = make_kernels("neon");
  return &kKernels;
}

}  // namespace openelm

#endif
