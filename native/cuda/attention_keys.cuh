#pragma once

// How a block of attention.cu takes keys and values into a softmax.

#include "kernels.h"
#include "primitives.cuh"
#include "reduce.cuh"

namespace openelm::cuda {

constexpr int kAttentionWarps = 4;
constexpr int kMaxQueries = 4;  // query heads of one KV head that share the reading of its keys
constexpr float kLeastScore = -1e30f;  // rather than -infinity: differences stay numbers

// Eight elements of a key or a value, on their way from memory.
template <typename Cache>
struct Chunk {
  uint4 units[sizeof(Cache) / 2];

  __device__ void load(const Cache* from) {
#pragma unroll
    for (int i = 0; i < int(sizeof(Cache) / 2); ++i) {
      units[i] = load_streaming(reinterpret_cast<const uint4*>(from) + i);
    }
  }
};

__device__ inline void unpack(const Chunk<float>& chunk, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    v[4 * i] = __uint_as_float(chunk.units[i].x);
    v[4 * i + 1] = __uint_as_float(chunk.units[i].y);
    v[4 * i + 2] = __uint_as_float(chunk.units[i].z);
    v[4 * i + 3] = __uint_as_float(chunk.units[i].w);
  }
}

__device__ inline void unpack(const Chunk<__half>& chunk, float (&v)[8]) {
  const uint4 bits = chunk.units[0];
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    __half2 pair;
    memcpy(&pair, &words[i], sizeof pair);
    v[2 * i] = __low2float(pair);
    v[2 * i + 1] = __high2float(pair);
  }
}

// A softmax in progress over some keys, for kMaxQueries heads and the lane's eight dimensions: the
// largest score, the sum of 2^(score - largest), and the values weighed by the same.
struct Partial {
  float largest[kMaxQueries];
  float sum[kMaxQueries];
  float value[kMaxQueries][8];

  __device__ void clear() {
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      largest[h] = kLeastScore;
      sum[h] = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) value[h][i] = 0;
    }
  }

  __device__ void rescale(int h, float new_largest) {
    const float factor = exp2f(largest[h] - new_largest);
    largest[h] = new_largest;
    sum[h] *= factor;
#pragma unroll
    for (int i = 0; i < 8; ++i) value[h][i] *= factor;
  }

  __device__ void add(int h, float weight, const float (&v)[8]) {
    sum[h] += weight;
#pragma unroll
    for (int i = 0; i < 8; ++i) value[h][i] = fmaf(weight, v[i], value[h][i]);
  }

  // Takes in what the lane at a distance has found.
  __device__ void merge(int distance) {
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      const float other = __shfl_xor_sync(~0u, largest[h], distance);
      rescale(h, fmaxf(largest[h], other));
      sum[h] += __shfl_xor_sync(~0u, sum[h], distance);
#pragma unroll
      for (int i = 0; i < 8; ++i) value[h][i] += __shfl_xor_sync(~0u, value[h][i], distance);
    }
  }
};

// Of a key whose elements kHeadDim / 8 lanes hold, in all of them.
template <int kHeadDim>
__device__ inline float score(const float (&q)[8], const float (&key)[8]) {
  float dot = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) dot = fmaf(q[i], key[i], dot);
  return warp_reduce_sum<kHeadDim / 8>(dot);
}

// A lane's part of the keys and values first + {0, 1, ...} * kStride below `end`.
template <typename Cache, int kHeadDim>
struct Keys {
  static constexpr int kCount = 8 / sizeof(Cache);  // whose loads are under way together
  static constexpr int kPerWarp = 32 / (kHeadDim / 8);
  static constexpr int kStride = kAttentionWarps * kPerWarp;
  static constexpr int kPerBlock = kCount * kStride;

  const Cache* k;
  const Cache* v;
  size_t key_stride;
  int end;
  int first = 0;
  Chunk<Cache> k_chunks[kCount];
  Chunk<Cache> v_chunks[kCount];

  // `offset`: of the lane's elements in a position of the cache.
  __device__ Keys(const CachePointers& cache, size_t key_stride, size_t offset, int end)
      : k(static_cast<const Cache*>(cache.k) + offset),
        v(static_cast<const Cache*>(cache.v) + offset),
        key_stride(key_stride),
        end(end) {}

  // Those from `first_of_block` on, one of which there must be.
  __device__ void load(int first_of_block) {
    first = first_of_block + int(threadIdx.x) / (kHeadDim / 8);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const size_t key = min(first + i * kStride, end - 1);
      k_chunks[i].load(k + key * key_stride);
      v_chunks[i].load(v + key * key_stride);
    }
  }

  // Takes them into a softmax.
  __device__ void take(const float (&q)[kMaxQueries][8], Partial& partial) const {
    float scores[kCount][kMaxQueries];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float key[8];
      unpack(k_chunks[i], key);
#pragma unroll
      for (int h = 0; h < kMaxQueries; ++h) scores[i][h] = score<kHeadDim>(q[h], key);
    }
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      float largest = partial.largest[h];
#pragma unroll
      for (int i = 0; i < kCount; ++i) largest = fmaxf(largest, scores[i][h]);
      partial.rescale(h, largest);
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float value[8];
      unpack(v_chunks[i], value);
#pragma unroll
      for (int h = 0; h < kMaxQueries; ++h) {
        const float weight =
            first + i * kStride < end ? exp2f(scores[i][h] - partial.largest[h]) : 0;
        partial.add(h, weight, value);
      }
    }
  }
};

}  // namespace openelm::cuda
