#include "epilogue.cuh"
#include "formats.cuh"
#include "kernels.h"
#include "matvec_division.h"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

template <typename Format>
constexpr int kLanesPerRow = kStepCols / Format::kChunk;
template <typename Format>
constexpr int kRowsPerWarp = 32 / kLanesPerRow<Format>;

// What a lane holds in registers: kSteps chunks of the input, and of each of kDepth rows the chunks
// that are to be multiplied with them, on their way from memory.
template <typename Format>
constexpr int kSteps = Format::kChunk == 32   ? 2
                       : Format::kChunk == 16 ? 3
                                              : 5;
template <>
constexpr int kSteps<Float32Format> = 3;
template <typename Format>
constexpr int kDepth = Format::kChunk == 32   ? 3
                       : Format::kChunk == 16 ? 3
                                              : 2;

// Which chunks of a row a lane takes in a slice: `first`, first + kLanesPerRow, ..., `count` of
// them.
struct Chunks {
  int first;
  int count;
};

template <typename Format>
__device__ inline Chunks chunks_of(const MatrixView& w, const Division& division, int slice) {
  constexpr int kLanes = kLanesPerRow<Format>;
  const int first = slice * division.steps * kLanes + int(threadIdx.x) % kLanes;
  const int below = w.stride / Format::kChunk - first;
  return {first, min((below + kLanes - 1) / kLanes, division.steps)};
}

// A lane's chunks of a row, on their way.
template <typename Format>
struct RowPart {
  typename Format::Packed packed[kSteps<Format>] = {};

  // The first `count` of them.
  __device__ void load(const MatrixView& w, int row, int count, int first_chunk) {
#pragma unroll
    for (int s = 0; s < kSteps<Format>; ++s) {
      Format::load(w, row, first_chunk + s * kLanesPerRow<Format>, s < count, packed[s]);
    }
  }
};

// values[col] to values[col + 3], and zeros from `cols` on.
__device__ inline float4 load_four(const float* values, int col, int cols) {
  if (col >= cols) return make_float4(0, 0, 0, 0);
  float4 v = *reinterpret_cast<const float4*>(values + col);
  if (cols % 4 != 0) {
    if (col + 1 >= cols) v.y = 0;
    if (col + 2 >= cols) v.z = 0;
    if (col + 3 >= cols) v.w = 0;
  }
  return v;
}

// A lane's chunks of x * norm.
template <typename Format>
struct InputPart {
  float values[kSteps<Format>][Format::kChunk];
  float bias[kSteps<Format>];  // what it adds to a product that the format's elements are biased

  // Returns this lane's share of sum x^2.
  __device__ float load(const MatvecArgs& args, Chunks chunks) {
    float squares = 0;
#pragma unroll
    for (int s = 0; s < kSteps<Format>; ++s) {
      const int chunk = chunks.first + s * kLanesPerRow<Format>;
      const int cols = s < chunks.count ? args.w.cols : 0;
      bias[s] = 0;
#pragma unroll
      for (int i = 0; i < Format::kChunk; i += 4) {
        const int col = chunk * Format::kChunk + i;
        float4 x = load_four(args.x, col, cols);
        squares = fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, fmaf(x.w, x.w, squares))));
        if (args.norm) {
          const float4 norm = load_four(args.norm, col, cols);
          x = {x.x * norm.x, x.y * norm.y, x.z * norm.z, x.w * norm.w};
        }
        values[s][i] = x.x;
        values[s][i + 1] = x.y;
        values[s][i + 2] = x.z;
        values[s][i + 3] = x.w;
        bias[s] -= Format::kBias * (x.x + x.y + x.z + x.w);
      }
    }
    return squares;
  }

  __device__ float multiply(const RowPart<Format>& row) const {
    float total = 0;
#pragma unroll
    for (int s = 0; s < kSteps<Format>; ++s) {
      float v[Format::kChunk];
      Format::unpack(row.packed[s], v);
      float sum = Format::kBias == 0 ? 0 : bias[s];
#pragma unroll
      for (int i = 0; i < Format::kChunk; ++i) sum = fmaf(v[i], values[s][i], sum);
      total = fmaf(sum, Format::scale(row.packed[s]), total);
    }
    return total;
  }
};

// y = epilogue(W norm(x)). RMSNorm divides by a number that is known only when all of x has been
// seen, and the product is linear: so it is the sums that are divided.
template <typename Format>
__global__ void __launch_bounds__(kMaxWarps * 32, 1)
    matvec_kernel(MatvecArgs args, Division division) {
  SHARED(float, sums, [kMaxWarps][kMaxRows]);
  SHARED(float, squares_of_warp, [kMaxWarps]);
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int groups = blockDim.x / 32 / division.across;  // of warps that share their rows
  const int row_step = groups * kRowsPerWarp<Format>;
  const int first_row = warp / division.across * kRowsPerWarp<Format>;
  const int row_of_lane = lane / kLanesPerRow<Format>;
  const int block_row = blockIdx.x * division.rows;
  const int rows = min(division.rows, args.w.rows - block_row);
  const int first_slice = warp % division.across;

  RowPart<Format> tile[kDepth<Format>];
  const auto load = [&](int d, int row, Chunks chunks) {
    const int in_block = row + d * row_step + row_of_lane;
    tile[d].load(args.w, block_row + in_block, in_block < rows ? chunks.count : 0, chunks.first);
  };

  // Weights depend on no other kernel: all that the registers hold is under way while this waits.
  let_next_kernel_start();
  Chunks chunks = chunks_of<Format>(args.w, division, first_slice);
#pragma unroll
  for (int d = 0; d < kDepth<Format>; ++d) load(d, first_row, chunks);

  if (args.norm) {
    for (int col = 8 * threadIdx.x; col < args.w.cols; col += 8 * blockDim.x)
      prefetch(args.norm + col);
  }
  for (int row = lane; row < rows; row += 32) sums[warp][row] = 0;
  if (lane == 0) squares_of_warp[warp] = 0;
  __syncwarp();
  wait_for_previous_kernel();

  for (int slice = first_slice; slice < division.slices; slice += division.across) {
    InputPart<Format> input;
    const float squares = warp_reduce_sum<kLanesPerRow<Format>>(input.load(args, chunks));
    if (lane == 0) squares_of_warp[warp] += squares;
    for (int row = first_row; row < rows; row += kDepth<Format> * row_step) {
      int next_row = row + kDepth<Format> * row_step;
      if (next_row >= rows) {
        next_row = first_row;
        chunks = chunks_of<Format>(args.w, division, slice + division.across);
      }
#pragma unroll
      for (int d = 0; d < kDepth<Format>; ++d) {
        const int in_block = row + d * row_step + row_of_lane;
        float sum = in_block < rows ? input.multiply(tile[d]) : 0;
        load(d, next_row, chunks);
        sum = warp_reduce_sum<kLanesPerRow<Format>>(sum);
        if (lane % kLanesPerRow<Format> == 0 && in_block < rows) {
          sums[warp][in_block] += sum;
        }
      }
    }
  }
  __syncthreads();

  float scale = 1;
  if (args.norm) {
    float total = 0;
    for (int i = 0; i < division.across; ++i) total += squares_of_warp[i];
    scale = rsqrtf(total / args.w.cols + args.eps);
  }
  const auto product = [&](int row) {
    if (row >= rows) return 0.0f;
    const int first_warp = row / kRowsPerWarp<Format> % groups * division.across;
    float sum = 0;
    for (int i = 0; i < division.across; ++i) sum += sums[first_warp + i][row];
    return sum * scale;
  };
  for (int row = 2 * threadIdx.x; row < rows; row += 2 * blockDim.x) {
    finish_pair(args.epilogue, args.w, args.y, 0, block_row + row, product(row), product(row + 1));
  }
}

}  // namespace

void matvec(const Device& device, const MatvecArgs& args) {
  with_format(args.w, [&](auto format) {
    using Format = decltype(format);
    constexpr WarpTile kTile = {kRowsPerWarp<Format>, kSteps<Format>, kDepth<Format>};
    const Division division = divide(args.w, kTile, device.multiprocessors);
    launch(device.stream, matvec_kernel<Format>, dim3(divide_up(args.w.rows, division.rows)),
           division.warps * 32, 0, args, division);
  });
}

}  // namespace openelm::cuda
