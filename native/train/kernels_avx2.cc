#include "../simd/lanes.h"
#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

// One file for every processor: only what follows is compiled for AVX2, and only a processor that
// has it is led here. MSVC needs no such request.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace openelm::train {
namespace {
#include "../simd/vec_avx2.inc"

#include "kernels/float_lanes.inc"

#include "kernels/table.inc"
}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

const Kernels<float>& avx2_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels("avx2");
  return kKernels;
}

}  // namespace openelm::train

#else

namespace openelm::train {
const Kernels<float>& avx2_kernels() { return scalar_kernels(); }
}  // namespace openelm::train

#endif
