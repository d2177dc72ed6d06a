// The matrix-vector product of decoding: a simdgroup takes four rows, its lanes take chunks of them
// side by side.
#include "matrix.h"

constant constexpr uint kMatvecRows = 4;        // of a simdgroup
constant constexpr uint kMatvecSimdgroups = 4;  // of a threadgroup

// Rows [row, row + 4) of W x, in every lane; rows beyond the last repeat it. With `norm` x is
// RMS-normalised on the way: its scale is the same for all elements, so that one pass over x
// gives both, W (n ⊙ x / rms(x)) = W (n ⊙ x) / rms(x).
template <bool norm>
static inline float4 matvec(Matrix w, uint row, device const float* x,
                            device const float* norm_weight, constant MatrixArgs& args, uint lane) {
  ulong first[kMatvecRows];
  for (uint r = 0; r < kMatvecRows; ++r) first[r] = ulong(min(row + r, w.rows - 1)) * w.chunks;

  float4 sums = float4(0.0f);
  float squares = 0.0f;
  for (uint i = lane; i < w.chunks; i += kSimdWidth) {
    Chunk v = load_chunk(x, i, args.cols);
    if (norm) {
      const Chunk n = load_chunk(norm_weight, i, args.cols);
      squares += dot(v.lo, v.lo) + dot(v.hi, v.hi);
      v.lo *= n.lo;
      v.hi *= n.hi;
    }
    for (uint r = 0; r < kMatvecRows; ++r) {
      const Chunk weights = load_weights(w.values, w.scales, first[r] + i);
      sums[r] += dot(weights.lo, v.lo) + dot(weights.hi, v.hi);
    }
  }
  sums = simd_sum(sums);
  if (norm) sums *= rsqrt(simd_sum(squares) / float(args.cols) + args.rms_norm_eps);
  return sums;
}

// The first of the four rows that a simdgroup of a matvec threadgroup takes.
static inline uint matvec_row(uint threadgroup_index, uint simdgroup) {
  return (threadgroup_index * kMatvecSimdgroups + simdgroup) * kMatvecRows;
}
