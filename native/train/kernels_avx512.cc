#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif

namespace openelm::train {
namespace {

float multiply_add(int rounds) {
  __m512 x[kBusyRegisters];
  for (__m512& value : x) value = _mm512_set1_ps(1);
  const __m512 half = _mm512_set1_ps(0.5f);
  for (int i = 0; i < rounds; ++i) {
    for (__m512& value : x) value = _mm512_fmadd_ps(value, half, half);
  }
  __m512 sum = x[0];
  for (const __m512& value : x) sum = _mm512_add_ps(sum, value);
  return _mm512_cvtss_f32(sum);
}

// A row of the tile is one register. Each element is summed in the order of the AVX2 kernel, so
// that both give the same bits.
void tile(const float* a, const float* b, int k, float* c) {
  __m512 sum[kTileRows];
  for (__m512& row : sum) row = _mm512_setzero_ps();
  for (int l = 0; l < k; ++l, a += kTileRows, b += kTileCols) {
    const __m512 columns = _mm512_loadu_ps(b);
    for (int i = 0; i < kTileRows; ++i) {
      sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(a[i]), columns, sum[i]);
    }
  }
  for (int i = 0; i < kTileRows; ++i) _mm512_storeu_ps(c + i * kTileCols, sum[i]);
}

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

// Only the product gains by wider lanes: the rest waits for memory or for exponentials.
const Kernels<float>& avx512_kernels() {
  static const Kernels<float> kKernels = [] {
    Kernels<float> kernels = avx2_kernels();
    kernels.name = "avx512";
    kernels.lanes = 16;
    kernels.multiply_add = multiply_add;
    kernels.tile = tile;
    return kernels;
  }();
  return kKernels;
}

}  // namespace openelm::train

#else

namespace openelm::train {
const Kernels<float>& avx512_kernels() { return scalar_kernels(); }
}  // namespace openelm::train

#endif
