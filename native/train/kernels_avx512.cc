#include "../simd/lanes.h"
#include "kernels.h"

#ifdef OPENELM_X86

#define OPENELM_TARGET "avx512f"
#include "../simd/target_begin.inc"

namespace openelm::train {
namespace {

// Two panels make 12 sums, which keep both multipliers busy; one makes 6, for the last of an odd
// number. Each element is summed in the order of the AVX2 kernel, so that both give the same bits.
template <int kPanels>
void tile_of(const float* a, const float* b, int k, float* c, size_t c_stride, bool adds) {
  __m512 sum[kTileRows][kPanels];
  for (auto& row : sum) {
    for (__m512& part : row) part = _mm512_setzero_ps();
  }
  const size_t panel = size_t(k) * kTileCols;
  for (int l = 0; l < k; ++l, a += kTileRows, b += kTileCols) {
    __m512 columns[kPanels];
    for (int p = 0; p < kPanels; ++p) columns[p] = _mm512_loadu_ps(b + p * panel);
    for (int i = 0; i < kTileRows; ++i) {
      const __m512 x = _mm512_set1_ps(a[i]);
      for (int p = 0; p < kPanels; ++p) sum[i][p] = _mm512_fmadd_ps(x, columns[p], sum[i][p]);
    }
  }
  for (int i = 0; i < kTileRows; ++i, c += c_stride) {
    for (int p = 0; p < kPanels; ++p) {
      float* to = c + p * kTileCols;
      _mm512_storeu_ps(to, adds ? _mm512_add_ps(_mm512_loadu_ps(to), sum[i][p]) : sum[i][p]);
    }
  }
}

void tile(const float* a, const float* b, int k, int panels, float* c, size_t c_stride, bool adds) {
  if (panels == 2) {
    tile_of<2>(a, b, k, c, c_stride, adds);
  } else {
    tile_of<1>(a, b, k, c, c_stride, adds);
  }
}

}  // namespace

#include "../simd/target_end.inc"

// Only the product gains by wider lanes: the rest waits for memory or for exponentials.
const Kernels<float>& avx512_kernels() {
  static const Kernels<float> kKernels = [] {
    Kernels<float> kernels = avx2_kernels();
    kernels.name = "avx512";
    kernels.tile_panels = 2;
    kernels.tile = tile;
    return kernels;
  }();
  return kKernels;
}

}  // namespace openelm::train

#endif
