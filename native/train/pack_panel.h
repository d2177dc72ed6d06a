#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "../simd/lanes.h"
#include "matmul.h"

namespace openelm::train {

// Turns four rows of four into columns: to[j * to_stride + i] = from[i * from_stride + j].
template <typename T>
void transpose4(const T* from, size_t from_stride, T* to, size_t to_stride) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) to[j * to_stride + i] = from[i * from_stride + j];
  }
}

#if defined(OPENELM_X86)
// Of what every x86-64 processor has.
inline void transpose4(const float* from, size_t from_stride, float* to, size_t to_stride) {
  __m128 row0 = _mm_loadu_ps(from);
  __m128 row1 = _mm_loadu_ps(from + from_stride);
  __m128 row2 = _mm_loadu_ps(from + 2 * from_stride);
  __m128 row3 = _mm_loadu_ps(from + 3 * from_stride);
  _MM_TRANSPOSE4_PS(row0, row1, row2, row3);
  _mm_storeu_ps(to, row0);
  _mm_storeu_ps(to + to_stride, row1);
  _mm_storeu_ps(to + 2 * to_stride, row2);
  _mm_storeu_ps(to + 3 * to_stride, row3);
}
#elif defined(OPENELM_ARM64)
inline void transpose4(const float* from, size_t from_stride, float* to, size_t to_stride) {
  const float32x4x2_t upper = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + from_stride));
  const float32x4x2_t lower =
      vtrnq_f32(vld1q_f32(from + 2 * from_stride), vld1q_f32(from + 3 * from_stride));
  for (int j = 0; j < 2; ++j) {
    const float32x4_t up = upper.val[j];
    const float32x4_t low = lower.val[j];
    vst1q_f32(to + j * to_stride, vcombine_f32(vget_low_f32(up), vget_low_f32(low)));
    vst1q_f32(to + (j + 2) * to_stride, vcombine_f32(vget_high_f32(up), vget_high_f32(low)));
  }
}
#endif

// to [depth, kWidth] = the transpose of kWidth rows.
template <int kWidth, typename T>
void pack_rows(const T* rows, size_t stride, int depth, T* to) {
  int l = 0;
  for (; l + 4 <= depth; l += 4) {
    T* block = to + size_t(l) * kWidth;
    for (int i = 0; i + 4 <= kWidth; i += 4) {
      transpose4(rows + i * stride + l, stride, block + i, kWidth);
    }
    // The last rows once more where four do not divide their number.
    if (kWidth % 4 != 0) {
      constexpr int kLast = kWidth - 4;
      transpose4(rows + kLast * stride + l, stride, block + kLast, kWidth);
    }
  }
  for (; l < depth; ++l) {
    for (int i = 0; i < kWidth; ++i) to[size_t(l) * kWidth + i] = rows[i * stride + l];
  }
}

// Rows [first, first + rows) and columns [begin, begin + depth) of a frozen x, or of its transpose.
template <int kWidth, typename T>
void pack_frozen(const View<T>& x, int first, int rows, int begin, int depth, T* to) {
  if (x.is_transposed) {
    for (int l = 0; l < depth; ++l, to += kWidth) {
      x.frozen->decode(begin + l, first, rows, to);
      std::fill(to + rows, to + kWidth, T(0));
    }
    return;
  }
  T decoded[kWidth * kDepth];
  for (int i = 0; i < rows; ++i) x.frozen->decode(first + i, begin, depth, decoded + i * kDepth);
  std::fill(decoded + rows * kDepth, decoded + kWidth * kDepth, T(0));
  pack_rows<kWidth>(decoded, kDepth, depth, to);
}

// A panel [depth, kWidth] of a factor: its rows [first, first + rows), filled up with zeros, and
// columns [begin, begin + depth).
template <int kWidth, typename T>
void pack_panel(const View<T>& whole, int first, int rows, int begin, int depth, T* to) {
  if (whole.frozen) return pack_frozen<kWidth>(whole, first, rows, begin, depth, to);
  const View<T> x{whole.data + first * whole.row_stride + begin * whole.col_stride,
                  whole.row_stride, whole.col_stride};
  if (rows == kWidth && x.col_stride == 1) {
    return pack_rows<kWidth>(x.data, x.row_stride, depth, to);
  }
  if (rows == kWidth && x.row_stride == 1) {
    for (int l = 0; l < depth; ++l) {
      std::memcpy(to + size_t(l) * kWidth, x.data + l * x.col_stride, kWidth * sizeof(T));
    }
    return;
  }
  for (int i = 0; i < kWidth; ++i) {
    const T* row = x.data + i * x.row_stride;
    for (int l = 0; l < depth; ++l) {
      to[size_t(l) * kWidth + i] = i < rows ? row[l * x.col_stride] : T(0);
    }
  }
}

}  // namespace openelm::train
