#include "epilogue.cuh"
#include "kernels.h"

namespace openelm::cuda {
namespace {

constexpr int kTile = 64;   // tokens and rows of a block
constexpr int kDepth = 16;  // columns at a time
constexpr int kThreads = 256;
constexpr int kPadded = kTile + 4;  // keeps a column's writes out of each other's banks

// Reads a kTile x kDepth piece of a matrix with rows of `stride` floats; thread i takes four
// columns of row i / 4.
__device__ inline float4 read_piece(const float* from, int row, int rows, int stride, int column) {
  if (row >= rows) return make_float4(0, 0, 0, 0);
  return *reinterpret_cast<const float4*>(from + size_t(row) * stride + column);
}

__device__ inline void store_piece(float (*tile)[kPadded], float4 v) {
  const int row = threadIdx.x / 4;
  const int column = threadIdx.x % 4 * 4;
  tile[column][row] = v.x;
  tile[column + 1][row] = v.y;
  tile[column + 2][row] = v.z;
  tile[column + 3][row] = v.w;
}

// Y = epilogue(X Wᵀ) in float32. Each thread has 4 x 4 of the block's 64 x 64; the next piece is in
// registers while the one before is multiplied.
__global__ void __launch_bounds__(kThreads) matmul_float32_kernel(MatmulArgs args) {
  SHARED(float, input, [kDepth][kPadded]);
  SHARED(float, weights, [kDepth][kPadded]);
  let_next_kernel_start();
  wait_for_previous_kernel();
  const int first_token = blockIdx.x * kTile;
  const int first_row = blockIdx.y * kTile;
  const int column = threadIdx.x % 4 * 4;
  const int token = first_token + threadIdx.x / 4;
  const int row = first_row + threadIdx.x / 4;
  const auto* const x = static_cast<const float*>(args.input);
  const auto* const w = static_cast<const float*>(args.w.values);
  const int stride = args.w.stride;
  const int y = threadIdx.x / 16 * 4;
  const int z = threadIdx.x % 16 * 4;

  float sums[4][4] = {};
  float4 next_input = read_piece(x, token, args.num_rows, stride, column);
  float4 next_weights = read_piece(w, row, args.w.rows, stride, column);
  for (int k = 0; k < stride; k += kDepth) {
    store_piece(input, next_input);
    store_piece(weights, next_weights);
    __syncthreads();
    if (k + kDepth < stride) {
      next_input = read_piece(x, token, args.num_rows, stride, k + kDepth + column);
      next_weights = read_piece(w, row, args.w.rows, stride, k + kDepth + column);
    }
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      const float4 a = *reinterpret_cast<const float4*>(&input[i][y]);
      const float4 b = *reinterpret_cast<const float4*>(&weights[i][z]);
      const float as[4] = {a.x, a.y, a.z, a.w};
      const float bs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(as[r], bs[c], sums[r][c]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    if (first_token + y + r >= args.num_rows) break;
#pragma unroll
    for (int c = 0; c < 4; c += 2) {
      finish_pair(args.epilogue, args.w, args.y, first_token + y + r, first_row + z + c, sums[r][c],
                  sums[r][c + 1]);
    }
  }
}

}  // namespace

void matmul_float32(const Device& device, const MatmulArgs& args) {
  const dim3 grid((args.num_rows + kTile - 1) / kTile, (args.w.rows + kTile - 1) / kTile);
  launch(device.stream, matmul_float32_kernel, grid, kThreads, 0, args);
}

}  // namespace openelm::cuda
