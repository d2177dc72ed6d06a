// The matrix-matrix product of prefilling: a threadgroup computes a tile of Y = X Wᵀ, 32 tokens by
// 64 rows of W, with simdgroup matrices. Weights are dequantised into the tile, so that one inner
// loop serves every dtype, and everything is multiplied and added in float.
#include "matrix.h"

constant constexpr uint kTileTokens = 32;
constant constexpr uint kTileRows = 64;
constant constexpr uint kTileDepth = 32;               // columns staged at a time
constant constexpr uint kTileStride = kTileDepth + 4;  // spreads the rows over the memory's banks
constant constexpr uint kMatmulThreads = 128;          // four simdgroups, 16 tokens x 32 rows each

constant constexpr uint kTileW = kTileTokens * kTileStride;  // where W is staged, after X
constant constexpr uint kTileFloats = kTileW + kTileRows * kTileStride;
constant constexpr uint kTileScales = kTileTokens * kTileRows;  // after Y, which replaces X and W

static inline void store_chunk(threadgroup float* to, Chunk chunk) {
  *reinterpret_cast<threadgroup float4*>(to) = chunk.lo;
  *reinterpret_cast<threadgroup float4*>(to + 4) = chunk.hi;
}

// Stages columns [32 * step, 32 * step + 32): a thread takes one chunk of X, of the token
// thread / 4, and two of W. Returns the sum of squares of its chunk of X.
template <bool norm>
static inline float stage_tile(Matrix w, uint first_row, device const float* x,
                               device const float* norm_weight, uint cols, uint step,
                               threadgroup float* tile, uint thread_index) {
  const uint slot = thread_index % 4;
  const uint chunk = step * 4 + slot;
  Chunk v = Chunk{float4(0.0f), float4(0.0f)};
  if (x) v = load_chunk(x, chunk, cols);
  const float squares = dot(v.lo, v.lo) + dot(v.hi, v.hi);
  if (norm) {
    const Chunk n = load_chunk(norm_weight, chunk, cols);
    v.lo *= n.lo;
    v.hi *= n.hi;
  }
  store_chunk(tile + thread_index / 4 * kTileStride + slot * 8, v);
  for (uint row = thread_index / 4; row < kTileRows; row += kMatmulThreads / 4) {
    const ulong weights_row = min(first_row + row, w.rows - 1);
    store_chunk(tile + kTileW + row * kTileStride + slot * 8,
                load_weights(w.values, w.scales, weights_row * w.chunks + chunk));
  }
  return squares;
}

// Leaves the tile of Y whose first row of W is `first_row` in `tile` [kTileFloats], to be read with
// tile_value. `x` is the row of X that this thread stages, of the tile's token thread / 4; null
// beyond the last. With `norm` the rows of X are RMS-normalised as in matvec.
template <bool norm>
static inline void matmul(Matrix w, uint first_row, device const float* x,
                          device const float* norm_weight, constant MatrixArgs& args,
                          threadgroup float* tile, uint thread_index, uint simdgroup) {
  const uint token = simdgroup / 2 * 16;
  const uint row = simdgroup % 2 * 32;
  simdgroup_float8x8 sums[2][4];
  for (uint i = 0; i < 2; ++i) {
    for (uint j = 0; j < 4; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }

  float squares = 0.0f;
  for (uint step = 0; step < args.groups; ++step) {
    squares += stage_tile<norm>(w, first_row, x, norm_weight, args.cols, step, tile, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < kTileDepth; k += 8) {
      simdgroup_float8x8 a[2], b[4];
      for (uint i = 0; i < 2; ++i) {
        simdgroup_load(a[i], tile + (token + 8 * i) * kTileStride + k, kTileStride);
      }
      for (uint j = 0; j < 4; ++j) {
        simdgroup_load(b[j], tile + kTileW + (row + 8 * j) * kTileStride + k, kTileStride,
                       ulong2(0, 0), true);
      }
      for (uint i = 0; i < 2; ++i) {
        for (uint j = 0; j < 4; ++j) {
          simdgroup_multiply_accumulate(sums[i][j], a[i], b[j], sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  for (uint i = 0; i < 2; ++i) {
    for (uint j = 0; j < 4; ++j) {
      simdgroup_store(sums[i][j], tile + (token + 8 * i) * kTileRows + row + 8 * j, kTileRows);
    }
  }
  if (norm) {
    squares += simd_shuffle_xor(squares, 1);
    squares += simd_shuffle_xor(squares, 2);
    if (thread_index % 4 == 0) {
      tile[kTileScales + thread_index / 4] = rsqrt(squares / float(args.cols) + args.rms_norm_eps);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

template <bool norm>
static inline float tile_value(threadgroup const float* tile, uint token, uint row) {
  const float sum = tile[token * kTileRows + row];
  return norm ? sum * tile[kTileScales + token] : sum;
}

// Y [T, rows] = the tile.
template <bool norm>
static inline void store_tile(threadgroup const float* tile, device float* y, uint first_token,
                              uint first_row, constant MatrixArgs& args, uint thread_index) {
  for (uint i = thread_index; i < kTileTokens * kTileRows; i += kMatmulThreads) {
    const uint token = first_token + i / kTileRows;
    const uint row = first_row + i % kTileRows;
    if (token >= args.num_tokens || row >= args.rows) continue;
    y[ulong(token) * args.rows + row] = tile_value<norm>(tile, i / kTileRows, i % kTileRows);
  }
}
