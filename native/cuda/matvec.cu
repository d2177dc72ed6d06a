#include "epilogue.cuh"
#include "formats.cuh"
#include "kernels.h"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

constexpr int kMaxWarps = 4;
constexpr int kRows = 2;    // of the matrix, for each lane
constexpr int kUnroll = 2;  // steps whose loads are in flight together

// Lanes that share a row take 256 columns a step: each a chunk, 128 to 1024 bytes in a piece.
template <typename Format>
constexpr int kLanesPerRow = 256 / Format::kChunk;
template <typename Format>
constexpr int kRowsPerWarp = kRows * 32 / kLanesPerRow<Format>;

// Where 16-byte unit `unit` of chunk `chunk` of the input stands in shared memory: a permutation
// within 128 bytes that sends the units which neighbouring lanes read together to different banks.
template <typename Format>
__device__ inline int staged_unit(int chunk, int unit) {
  constexpr int kUnits = Format::kChunk / 4;
  return chunk * kUnits + (unit ^ (chunk / (8 / kUnits) % kUnits));
}

// Some chunks of kRows rows, on their way from memory.
template <typename Format>
struct Tile {
  typename Format::Packed packed[kUnroll][kRows];

  __device__ void load(const MatrixView& w, int row, int first_chunk) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int chunk = first_chunk + u * kLanesPerRow<Format>;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const bool inside = row + r < w.rows && chunk < w.stride / Format::kChunk;
        packed[u][r] = inside ? Format::load(w, row + r, chunk) : Format::zeros();
      }
    }
  }

  __device__ void multiply(const float4* staged, int chunks, int first_chunk,
                           float (&sums)[kRows]) const {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int chunk = first_chunk + u * kLanesPerRow<Format>;
      if (chunk >= chunks) continue;
      float4 x[Format::kChunk / 4];
#pragma unroll
      for (int i = 0; i < Format::kChunk / 4; ++i) x[i] = staged[staged_unit<Format>(chunk, i)];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        float v[Format::kChunk];
        Format::unpack(packed[u][r], v);
        float sum = 0;
#pragma unroll
        for (int i = 0; i < Format::kChunk / 4; ++i) {
          sum = fmaf(v[4 * i], x[i].x, sum);
          sum = fmaf(v[4 * i + 1], x[i].y, sum);
          sum = fmaf(v[4 * i + 2], x[i].z, sum);
          sum = fmaf(v[4 * i + 3], x[i].w, sum);
        }
        sums[r] = fmaf(sum, Format::scale(packed[u][r]), sums[r]);
      }
    }
  }
};

// Puts x * norm, filled up with zeros, into shared memory. Returns this thread's share of sum x^2.
template <typename Format>
__device__ float stage(const MatvecArgs& args, float4* staged) {
  float squares = 0;
  for (int i = threadIdx.x; i < args.w.stride / 4; i += blockDim.x) {
    float v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int col = 4 * i + j;
      const bool inside = col < args.w.cols;
      const float x = inside ? args.x[col] : 0;
      squares = fmaf(x, x, squares);
      v[j] = args.norm && inside ? x * args.norm[col] : x;
    }
    constexpr int kUnits = Format::kChunk / 4;
    staged[staged_unit<Format>(i / kUnits, i % kUnits)] = make_float4(v[0], v[1], v[2], v[3]);
  }
  return squares;
}

// y = epilogue(W norm(x)). RMSNorm divides by a number that is known only when all of x has been
// seen, and the product is linear: so it is the sums that are divided, and the block waits once.
template <typename Format>
__global__ void __launch_bounds__(kMaxWarps * 32) matvec_kernel(MatvecArgs args) {
  DYN_SHARED(float4, staged);
  SHARED(float, squares_of_warp, [kMaxWarps]);
  const int warp = threadIdx.x / 32;
  const int warps = blockDim.x / 32;
  const int lane = threadIdx.x % 32;
  const int lane_in_row = lane % kLanesPerRow<Format>;
  const int row =
      (blockIdx.x * warps + warp) * kRowsPerWarp<Format> + lane / kLanesPerRow<Format> * kRows;
  const int chunks = args.w.stride / Format::kChunk;

  // The weights depend on no other kernel: the first are under way while this one waits.
  let_next_kernel_start();
  Tile<Format> tile;
  tile.load(args.w, row, lane_in_row);
  wait_for_previous_kernel();

  const float squares = warp_reduce_sum(stage<Format>(args, staged));
  if (lane == 0) squares_of_warp[warp] = squares;
  __syncthreads();

  float sums[kRows] = {};
  constexpr int kStep = kUnroll * kLanesPerRow<Format>;
  for (int chunk = lane_in_row; chunk < chunks; chunk += kStep) {
    Tile<Format> next;
    next.load(args.w, row, chunk + kStep);
    tile.multiply(staged, chunks, chunk, sums);
    tile = next;
  }

  float scale = 1;
  if (args.norm) {
    float total = 0;
    for (int i = 0; i < warps; ++i) total += squares_of_warp[i];
    scale = rsqrtf(total / args.w.cols + args.eps);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    sums[r] = warp_reduce_sum<kLanesPerRow<Format>>(sums[r]) * scale;
  }
  if (lane_in_row == 0) finish_pair(args.epilogue, args.w, args.y, 0, row, sums[0], sums[1]);
}

int shared_bytes(int cols) { return padded_to_groups(cols) * int(sizeof(float)); }

}  // namespace

void matvec(const Device& device, const MatvecArgs& args) {
  with_format(args.w, [&](auto format) {
    using Format = decltype(format);
    const auto blocks = [&](int warps) {
      const int rows = warps * kRowsPerWarp<Format>;
      return (args.w.rows + rows - 1) / rows;
    };
    // Every multiprocessor has to pull at memory: smaller blocks where there are few rows.
    int warps = kMaxWarps;
    while (warps > 1 && blocks(warps) < 2 * device.multiprocessors) warps /= 2;
    launch(device.stream, matvec_kernel<Format>, dim3(blocks(warps)), warps * 32,
           shared_bytes(args.w.cols), args);
  });
}

// Beside the input lie the sums of the warps.
size_t most_matvec_cols(size_t shared_memory) {
  const size_t cols = (shared_memory - kMaxWarps * sizeof(float)) / sizeof(float);
  return cols / padded_to_groups(1) * padded_to_groups(1);
}

void prepare_matvec(int most_cols) {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    MatrixView w;
    w.dtype = dtype;
    with_format(w, [&](auto format) {
      const auto kernel = reinterpret_cast<const void*>(matvec_kernel<decltype(format)>);
      allow_shared_memory(kernel, shared_bytes(most_cols));
    });
  }
}

}  // namespace openelm::cuda
