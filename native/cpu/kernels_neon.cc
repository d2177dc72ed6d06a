#include "kernels/lanes.h"

#if defined(__aarch64__) || defined(_M_ARM64)

#include <arm_neon.h>

namespace openelm {
namespace {
#include "kernels/vec_neon.h"

#include "kernels/table.h"
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
