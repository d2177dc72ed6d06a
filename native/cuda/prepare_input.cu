#include "kernels.h"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr float kMaxInput = 32768;  // with float16, so that rounding cannot reach infinity

__device__ inline void store(float* to, float value) { *to = value; }
__device__ inline void store(__half* to, float value) { *to = __float2half(value); }
__device__ inline void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16(value); }

// Column `position` of a row of the input of a quantised matrix. Within a group of 32, thread t of
// a quad feeds the tensor cores at positions 16s + 8u + 2t + {0, 1}; this order of columns lets it
// find all of its weights in bytes 4t..4t+3 of the group's first and second half, or, with 4 bits,
// in the low and high nibbles of one such word.
__device__ inline int column_at(int position) {
  const int in_group = position % 32;
  const int s = in_group / 16;
  const int u = in_group / 8 % 2;
  const int t = in_group / 2 % 4;
  return position - in_group + 16 * s + 4 * t + 2 * u + in_group % 2;
}

// The maximum and the sum over the block, in every thread.
struct Totals {
  float squares;
  float largest;
};
__device__ inline Totals block_reduce(Totals mine) {
  SHARED(Totals, of_warp, [kWarps]);
  const Totals warp = {warp_reduce_sum(mine.squares), warp_reduce_max(mine.largest)};
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = warp;
  __syncthreads();
  Totals totals = of_warp[0];
  for (int i = 1; i < kWarps; ++i) {
    totals.squares += of_warp[i].squares;
    totals.largest = fmaxf(totals.largest, of_warp[i].largest);
  }
  return totals;
}

// One block a row.
template <typename T, bool kPermuted>
__global__ void __launch_bounds__(kThreads) prepare_input_kernel(InputArgs args, int stride) {
  let_next_kernel_start();
  wait_for_previous_kernel();
  const int row = args.rows ? args.rows[blockIdx.x] : blockIdx.x;
  const float* const x = args.x + size_t(row) * args.cols;
  Totals totals = {0, 0};
  for (int col = threadIdx.x; col < args.cols; col += kThreads) {
    totals.squares = fmaf(x[col], x[col], totals.squares);
    totals.largest = fmaxf(totals.largest, fabsf(args.norm ? x[col] * args.norm[col] : x[col]));
  }
  totals = block_reduce(totals);
  const float norm = args.norm ? rsqrtf(totals.squares / args.cols + args.eps) : 1;

  // A power of two, so that it rounds nothing.
  const float over = totals.largest * norm / kMaxInput;
  const float row_scale = sizeof(T) == sizeof(__half) && over > 1 ? ldexpf(1, ilogbf(over) + 1) : 1;
  if (threadIdx.x == 0) args.row_scales[blockIdx.x] = row_scale;

  T* const to = static_cast<T*>(args.input) + size_t(blockIdx.x) * stride;
  const float scale = norm / row_scale;
  for (int i = threadIdx.x; i < stride; i += kThreads) {
    const int col = kPermuted ? column_at(i) : i;
    float value = 0;
    if (col < args.cols) value = x[col] * scale * (args.norm ? args.norm[col] : 1);
    store(to + i, value);
  }
}

}  // namespace

void prepare_input(const Device& device, DType matrix_dtype, const InputArgs& args) {
  auto* kernel = prepare_input_kernel<__half, true>;
  if (matrix_dtype == DType::kFloat32) kernel = prepare_input_kernel<float, false>;
  if (matrix_dtype == DType::kFloat16) kernel = prepare_input_kernel<__half, false>;
  if (matrix_dtype == DType::kBFloat16) kernel = prepare_input_kernel<__nv_bfloat16, false>;
  launch(device.stream, kernel, dim3(args.num_rows), kThreads, 0, args,
         padded_to_groups(args.cols));
}

}  // namespace openelm::cuda
