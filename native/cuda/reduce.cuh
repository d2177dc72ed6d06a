#pragma once

#include "primitives.cuh"

namespace openelm::cuda {

// The sum over each aligned set of kLanes lanes, in all of them.
template <int kLanes = 32>
__device__ inline float warp_reduce_sum(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(~0u, value, distance);
  }
  return value;
}

__device__ inline float warp_reduce_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

}  // namespace openelm::cuda
