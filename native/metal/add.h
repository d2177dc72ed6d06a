// A product added to the residual stream.
#include "matmul.h"
#include "matvec.h"

// y [rows] += W x, the four rows of a simdgroup.
static inline void matvec_add(Matrix w, device const float* x, device float* y,
                              constant MatrixArgs& args, uint row, uint lane) {
  const float4 sums = matvec<false>(w, row, x, nullptr, args, lane);
  if (lane < kMatvecRows && row + lane < args.rows) y[row + lane] += sums[lane];
}

// Y [T, rows] += X Wᵀ, the tile of a threadgroup.
static inline void matmul_add(Matrix w, device const float* x, device float* y,
                              constant MatrixArgs& args, uint2 group, threadgroup float* tile,
                              uint thread_index, uint simdgroup) {
  const uint first_row = group.x * kTileRows;
  const uint first_token = group.y * kTileTokens;
  const uint token = first_token + thread_index / 4;
  matmul<false>(w, first_row, token < args.num_tokens ? x + ulong(token) * args.cols : nullptr,
                nullptr, args, tile, thread_index, simdgroup);
  for (uint i = thread_index; i < kTileTokens * kTileRows; i += kMatmulThreads) {
    const uint to_token = first_token + i / kTileRows;
    const uint to_row = first_row + i % kTileRows;
    if (to_token < args.num_tokens && to_row < args.rows) {
      y[ulong(to_token) * args.rows + to_row] +=
          tile_value<false>(tile, i / kTileRows, i % kTileRows);
    }
  }
}
