#include "lanes.h"

#if defined(__aarch64__) || defined(_M_ARM64)

#include <arm_neon.h>

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

#else

namespace openelm {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace openelm

#endif
