#include "block_loop.cuh"
#include "epilogue.cuh"
#include "formats.cuh"
#include "kernels.h"
#include "weight_tile.cuh"

namespace openelm::cuda {
namespace {

// A block computes kTokens x kRows of Y = X Wᵀ with a pipeline of tiles of 32 columns: while one is
// multiplied, the next ones are on their way to shared memory. Each warp has kWarpTokens x
// kWarpRows.
template <int kTokensOfBlock, int kRowsOfBlock, int kWarpsDown, int kWarpsAcross>
struct Shape {
  static constexpr int kTokens = kTokensOfBlock;
  static constexpr int kRows = kRowsOfBlock;
  static constexpr int kWarpTokens = kTokens / kWarpsDown;
  static constexpr int kWarpRows = kRows / kWarpsAcross;
  static constexpr int kThreads = kWarpsDown * kWarpsAcross * 32;
  static constexpr int kStages = 3;
};
using SmallShape = Shape<16, 64, 1, 4>;  // a few sessions that decode together
using MiddleShape = Shape<64, 64, 2, 2>;
using LargeShape = Shape<128, 128, 2, 4>;

template <typename Element, typename Tile, typename S>
struct Stage {
  uint4 input[S::kTokens * kInputChunks];
  uint4 weights[S::kRows * Tile::kChunks];
};

// Starts the copy of columns [32 k, 32 k + 32) of the block's tokens and rows.
template <typename Element, typename Tile, typename S>
__device__ void start_copy(const MatmulArgs& args, int first_token, int first_row, int k,
                           Stage<Element, Tile, S>& stage) {
  for_each_in_block<S::kTokens * kInputChunks, S::kThreads>([&](int i) {
    const int token = first_token + i / kInputChunks;
    const int chunk = i % kInputChunks;
    const bool inside = token < args.num_rows;
    const Element* const from = static_cast<const Element*>(args.input) +
                                size_t(inside ? token : 0) * args.w.stride + k * 32 + chunk * 8;
    cp_async_16(&stage.input[input_unit(i / kInputChunks, chunk)], from, inside);
  });
  for_each_in_block<S::kRows * Tile::kChunks, S::kThreads>([&](int i) {
    const int row = first_row + i / Tile::kChunks;
    const int chunk = i % Tile::kChunks;
    const bool inside = row < args.w.rows;
    Tile::start_copy(args.w, inside ? row : 0, k, i / Tile::kChunks, chunk, inside, stage.weights);
  });
}

// Y [tokens, rows] = epilogue(X Wᵀ), X in Element and W in what Tile makes Element of.
template <typename Element, typename Tile, typename S>
__global__ void __launch_bounds__(S::kThreads) matmul_kernel(MatmulArgs args) {
  using BlockStage = Stage<Element, Tile, S>;
  DYN_SHARED(BlockStage, stages);
  constexpr int kDown = S::kWarpTokens / 16;
  constexpr int kAcross = S::kWarpRows / 8;
  constexpr int kWarpsAcross = S::kRows / S::kWarpRows;
  const int warp = threadIdx.x / 32;
  const int warp_token = warp / kWarpsAcross * S::kWarpTokens;
  const int warp_row = warp % kWarpsAcross * S::kWarpRows;
  const int first_token = blockIdx.x * S::kTokens;
  const int first_row = blockIdx.y * S::kRows;
  const int steps = args.w.stride / 32;

  let_next_kernel_start();
  wait_for_previous_kernel();
#pragma unroll
  for (int k = 0; k < S::kStages - 1; ++k) {
    if (k < steps) start_copy<Element, Tile, S>(args, first_token, first_row, k, stages[k]);
    cp_async_commit();
  }

  float sums[kDown][kAcross][4] = {};
  for (int k = 0; k < steps; ++k) {
    cp_async_wait<S::kStages - 2>();
    __syncthreads();  // tile k is there, and all have done with the stage that is filled next
    const int ahead = k + S::kStages - 1;
    if (ahead < steps) {
      start_copy<Element, Tile, S>(args, first_token, first_row, ahead, stages[ahead % S::kStages]);
    }
    cp_async_commit();

    const BlockStage& stage = stages[k % S::kStages];
    uint32_t input[kDown][2][4];
#pragma unroll
    for (int i = 0; i < kDown; ++i) load_input(stage.input, warp_token + 16 * i, input[i]);
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      uint32_t weights[2][2];
      Tile::load(args.w, stage.weights, first_row, warp_row + 8 * j, k, weights);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          mma_m16n8k16<Element>(sums[i][j], input[i][half], weights[half]);
        }
      }
    }
  }

  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      const int token = first_token + warp_token + 16 * i + 8 * below + g;
      if (token >= args.num_rows) continue;
      const float scale = args.row_scales[token];
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        const float* const pair = sums[i][j] + 2 * below;
        finish_pair(args.epilogue, args.w, args.y, token, first_row + warp_row + 8 * j + 2 * t,
                    pair[0] * scale, pair[1] * scale);
      }
    }
  }
}

template <typename Element, typename Tile, typename S>
struct Kernel {
  static constexpr auto kFunction = matmul_kernel<Element, Tile, S>;
  static constexpr int kShared = S::kStages * int(sizeof(Stage<Element, Tile, S>));

  static void launch_on(const Device& device, const MatmulArgs& args) {
    // Blocks that share rows of W are neighbours, so that the cache serves all but the first.
    const dim3 grid((args.num_rows + S::kTokens - 1) / S::kTokens,
                    (args.w.rows + S::kRows - 1) / S::kRows);
    launch(device.stream, kFunction, grid, S::kThreads, kShared, args);
  }
  static void prepare() { allow_shared_memory(reinterpret_cast<const void*>(kFunction), kShared); }
};

template <typename Element, typename Tile>
void matmul_16bit(const Device& device, const MatmulArgs& args) {
  const auto blocks = [&](int size) {
    return (args.num_rows + size - 1) / size * ((args.w.rows + size - 1) / size);
  };
  if (args.num_rows <= SmallShape::kTokens) {
    Kernel<Element, Tile, SmallShape>::launch_on(device, args);
  } else if (args.num_rows <= 64 || blocks(LargeShape::kTokens) < device.multiprocessors) {
    Kernel<Element, Tile, MiddleShape>::launch_on(device, args);
  } else {
    Kernel<Element, Tile, LargeShape>::launch_on(device, args);
  }
}

template <typename Element, typename Tile>
void prepare() {
  Kernel<Element, Tile, SmallShape>::prepare();
  Kernel<Element, Tile, MiddleShape>::prepare();
  Kernel<Element, Tile, LargeShape>::prepare();
}

}  // namespace

void matmul(const Device& device, const MatmulArgs& args) {
  switch (args.w.dtype) {
    case DType::kFloat32:
      return matmul_float32(device, args);
    case DType::kFloat16:
      return matmul_16bit<__half, Tile16>(device, args);
    case DType::kBFloat16:
      return matmul_16bit<__nv_bfloat16, Tile16>(device, args);
    case DType::kQ8:
      return matmul_16bit<__half, TileQ8>(device, args);
    case DType::kQ4:
      return matmul_16bit<__half, TileQ4>(device, args);
  }
}

void prepare_matmul() {
  prepare<__half, Tile16>();
  prepare<__nv_bfloat16, Tile16>();
  prepare<__half, TileQ8>();
  prepare<__half, TileQ4>();
}

}  // namespace openelm::cuda
