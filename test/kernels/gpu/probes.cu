#include "probes.h"

#include "../../../native/cuda/primitives.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksOfMultiprocessor = 2;
constexpr int kAccumulators = 8;  // enough to hide the latency of the units

__global__ void __launch_bounds__(kThreads) matrix_probe(int rounds, float* out) {
  wait_for_previous_kernel();
  float sums[kAccumulators][4] = {};
  const uint32_t a[4] = {threadIdx.x, threadIdx.x + 1, threadIdx.x + 2, threadIdx.x + 3};
  const uint32_t b[2] = {threadIdx.x + 4, threadIdx.x + 5};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) mma_m16n8k16<__nv_bfloat16>(sums[i], a, b);
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kAccumulators; ++i)
    total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  out[blockIdx.x * kThreads + threadIdx.x] = total;
}

__global__ void empty_kernel() {
  let_next_kernel_start();
  wait_for_previous_kernel();
}

}  // namespace

double launch_matrix_probe(const Stream& stream, int multiprocessors, int rounds, float* out) {
  const int blocks = multiprocessors * kBlocksOfMultiprocessor;
  launch(stream, matrix_probe, dim3(blocks), kThreads, 0, rounds, out);
  return 2.0 * 16 * 8 * 16 * kAccumulators * rounds * blocks * (kThreads / 32);
}

void launch_empty_kernel(const Stream& stream) { launch(stream, empty_kernel, dim3(1), 32, 0); }

}  // namespace openelm::cuda
