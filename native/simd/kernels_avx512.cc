#include "lanes.h"

#ifdef OPENELM_X86

#if defined(__GNUC__) && !defined(__clang__)
// Raised by the intrinsics of GCC itself.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define OPENELM_TARGET "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#include "target_begin.inc"

namespace openelm {
namespace {
#include "vec_avx2.inc"

#include "panel_avx512.inc"

#include "table.inc"
}  // namespace

#include "target_end.inc"

const Kernels* avx512_kernels() {
  static constexpr Kernels kKernels = make_kernels("avx512");
  return &kKernels;
}

}  // namespace openelm

#endif
