#pragma once

// What becomes of a token's products with qkv_proj: an RMSNorm and RoPE for each head of q and k,
// rounding to the cache's elements for k and v. A warp takes a head.

#include "kernels.h"
#include "reduce.cuh"

namespace openelm::cuda {

// A value beyond float16 must not become infinite: it would turn into NaN in the softmax.
__device__ inline void store_in_cache(float* to, float value) { *to = value; }
__device__ inline void store_in_cache(__half* to, float value) {
  *to = __float2half(value > 65504.0f ? 65504.0f : value < -65504.0f ? -65504.0f : value);
}

// A head of `2 * half` elements. A lane holds j and j + half, which RoPE rotates together, for
// j = lane, lane + 32, ...
template <int kPairs>
struct Head {
  float first[kPairs] = {};
  float second[kPairs] = {};

  template <typename Visit>
  __device__ static void for_each_pair(int half, const Visit& visit) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int j = int(threadIdx.x) % 32 + 32 * i;
      if (j < half) visit(i, j);
    }
  }

  __device__ void load(const float* from, int half) {
    for_each_pair(half, [&](int i, int j) {
      first[i] = from[j];
      second[i] = from[j + half];
    });
  }

  // Of q and k. There is no norm when it is null.
  __device__ void norm_and_rotate(const float* norm, float eps, const float2* turns, int half) {
    if (norm) {
      float squares = 0;
#pragma unroll
      for (int i = 0; i < kPairs; ++i) squares += first[i] * first[i] + second[i] * second[i];
      const float scale = rsqrtf(warp_reduce_sum(squares) / (2 * half) + eps);
      for_each_pair(half, [&](int i, int j) {
        first[i] *= scale * norm[j];
        second[i] *= scale * norm[j + half];
      });
    }
    for_each_pair(half, [&](int i, int j) {
      const float2 turn = turns[j];
      const float turned = first[i] * turn.x - second[i] * turn.y;
      second[i] = second[i] * turn.x + first[i] * turn.y;
      first[i] = turned;
    });
  }

  // Calls store(element, value) for each element, and with zeros for those from 2 * half to
  // `padded`.
  template <typename Store>
  __device__ void store(int half, int padded, const Store& store) const {
    for_each_pair(half, [&](int i, int j) {
      store(j, first[i]);
      store(j + half, second[i]);
    });
    for (int j = 2 * half + int(threadIdx.x) % 32; j < padded; j += 32) store(j, 0.0f);
  }
};

}  // namespace openelm::cuda
