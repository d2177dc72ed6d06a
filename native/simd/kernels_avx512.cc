#include "lanes.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

// One build for every processor: only what follows may use these instructions, and only a processor
// that has them is led here. MSVC needs no such request.
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
    apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
// Raised by the intrinsics of GCC itself.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif

namespace openelm {
namespace {
#include "vec_avx2.inc"

#include "panel_avx512.inc"

#include "table.inc"
}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

const Kernels* avx512_kernels() {
  static constexpr Kernels kKernels = make_kernels("avx512");
  return &kKernels;
}

}  // namespace openelm

#else

namespace openelm {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace openelm

#endif
