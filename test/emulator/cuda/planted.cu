#include "planted.h"

#include "../../../native/cuda/primitives.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = kPlantedThreads;

__global__ void missing_barrier_kernel(float* out) {
  SHARED(float, numbers, [kThreads]);
  wait_for_previous_kernel();
  numbers[threadIdx.x] = float(threadIdx.x);
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
}

// Nothing keeps a warp from writing the second number while another still has to read the first.
__global__ void missing_second_barrier_kernel(float* out) {
  SHARED(float, numbers, [kThreads]);
  wait_for_previous_kernel();
  numbers[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = numbers[kThreads - 1 - threadIdx.x];
  numbers[threadIdx.x] = 2;
}

__global__ void missing_copy_wait_kernel(const float* in, float* out) {
  SHARED(float, copy, [4 * kThreads]);
  wait_for_previous_kernel();
  cp_async_16(copy + 4 * threadIdx.x, in + 4 * threadIdx.x, true);
  cp_async_commit();
  __syncthreads();
  out[threadIdx.x] = copy[threadIdx.x];
}

__global__ void inactive_lane_shuffle_kernel(float* out) {
  wait_for_previous_kernel();
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 16);
}

__global__ void absent_lane_in_mask_kernel(float* out) {
  wait_for_previous_kernel();
  if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}

__global__ void barrier_in_a_branch_kernel(float* out) {
  wait_for_previous_kernel();
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void too_much_shared_memory_kernel(float* out) {
  SHARED(float, numbers, [1 << 15]);
  wait_for_previous_kernel();
  numbers[threadIdx.x] = 1;
  out[threadIdx.x] = numbers[threadIdx.x];
}

__global__ void misaligned_copy_kernel(const float* in, float* out) {
  SHARED(float, copy, [4 * kThreads]);
  wait_for_previous_kernel();
  cp_async_16(copy, in + 1, true);
  cp_async_commit();
  cp_async_wait<0>();
  out[threadIdx.x] = copy[0];
}

__global__ void no_wait_for_previous_kernel_kernel(float* out) { out[threadIdx.x] = 1; }

__global__ void read_out_of_bounds_kernel(const float* in, float* out) {
  wait_for_previous_kernel();
  out[threadIdx.x] = in[threadIdx.x + 1];
}

__global__ void count_kernel(float* out) {
  let_next_kernel_start();
  wait_for_previous_kernel();
  out[threadIdx.x] = float(threadIdx.x);
}

__global__ void read_before_wait_kernel(const float* in, float* out) {
  let_next_kernel_start();
  const float number = in[threadIdx.x];
  wait_for_previous_kernel();
  out[threadIdx.x] = number;
}

template <typename... Params, typename... Args>
void run(const Stream& stream, void (*kernel)(Params...), const Args&... args) {
  launch(stream, kernel, dim3(1), kThreads, 0, args...);
  stream.synchronize();
}

}  // namespace

void missing_barrier(const Stream& stream, float* out) { run(stream, missing_barrier_kernel, out); }
void missing_second_barrier(const Stream& stream, float* out) {
  run(stream, missing_second_barrier_kernel, out);
}
void missing_copy_wait(const Stream& stream, const float* in, float* out) {
  run(stream, missing_copy_wait_kernel, in, out);
}
void inactive_lane_shuffle(const Stream& stream, float* out) {
  run(stream, inactive_lane_shuffle_kernel, out);
}
void absent_lane_in_mask(const Stream& stream, float* out) {
  run(stream, absent_lane_in_mask_kernel, out);
}
void barrier_in_a_branch(const Stream& stream, float* out) {
  run(stream, barrier_in_a_branch_kernel, out);
}
void too_much_shared_memory(const Stream& stream, float* out) {
  run(stream, too_much_shared_memory_kernel, out);
}
void misaligned_copy(const Stream& stream, const float* in, float* out) {
  run(stream, misaligned_copy_kernel, in, out);
}
void no_wait_for_previous_kernel(const Stream& stream, float* out) {
  run(stream, no_wait_for_previous_kernel_kernel, out);
}
void read_out_of_bounds(const Stream& stream, const float* in, float* out) {
  run(stream, read_out_of_bounds_kernel, in, out);
}

void read_before_wait(const Stream& stream, float* numbers, float* out) {
  launch(stream, count_kernel, dim3(1), kPlantedThreads, 0, numbers);
  run(stream, read_before_wait_kernel, numbers, out);
}

}  // namespace openelm::cuda
