// a [T, Hq*h] = softmax(q kᵀ / √h) v, causal, each query head over the KV head of its group.
#include "cache.h"

constant constexpr uint kAttentionSimdgroups = 16;
constant constexpr uint kMaxQueries = 4;  // query heads of one KV head that a threadgroup takes
constant constexpr uint kMaxPairs = 4;    // of elements of a head that a lane holds: h <= 256

// One token. A threadgroup takes up to four query heads of one KV head, its simdgroups take every
// sixteenth position, and a lane holds elements 2*lane and 2*lane + 1 of every 64: so each key and
// value is read once.
kernel void attention(device const float* q [[buffer(0)]],
                      device const uchar* k_cache [[buffer(1)]],
                      device const uchar* v_cache [[buffer(2)]], device float* a [[buffer(3)]],
                      constant RunArgs& run [[buffer(4)]],
                      uint2 group [[threadgroup_position_in_grid]],
                      uint thread_index [[thread_index_in_threadgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float outputs[kAttentionSimdgroups * kMaxPairs * 2 * kSimdWidth];
  threadgroup float maxima[kAttentionSimdgroups];
  threadgroup float totals[kAttentionSimdgroups];

  const uint slots = (kGroupQueries + kMaxQueries - 1) / kMaxQueries;  // threadgroups a KV head
  const uint kv_head = group.x / slots;
  const uint first_query = group.x % slots * kMaxQueries;  // in the group of kv_head
  const uint num_queries = min(kMaxQueries, kGroupQueries);
  const ulong token = run.first_token + group.y;
  const uint num_positions = run.first_position + group.y + 1;
  const ulong heads = token * run.num_query_heads + kv_head * kGroupQueries;
  const float scale = rsqrt(float(kHeadDim));

  // Where fewer than num_queries are left, the last one is computed again and not stored.
  float2 query[kMaxQueries][kMaxPairs];
  float2 output[kMaxQueries][kMaxPairs];
  float maximum[kMaxQueries];
  float total[kMaxQueries];
  for (uint n = 0; n < num_queries; ++n) {
    const ulong head = heads + min(first_query + n, kGroupQueries - 1);
    for (uint i = 0; 64 * i < kHeadDim; ++i) {
      const uint j = 64 * i + 2 * lane;
      const bool held = j < kHeadDim;
      query[n][i] = held ? *reinterpret_cast<device const float2*>(q + head * kHeadDim + j) * scale
                         : float2(0.0f);
      output[n][i] = float2(0.0f);
    }
    maximum[n] = -INFINITY;
    total[n] = 0.0f;
  }

  for (uint position = simdgroup; position < num_positions; position += kAttentionSimdgroups) {
    const ulong at = cache_index(position, kv_head, run);
    float2 key[kMaxPairs];
    float2 value[kMaxPairs];
    for (uint i = 0; 64 * i < kHeadDim; ++i) {
      const uint j = 64 * i + 2 * lane;
      const bool held = j < kHeadDim;
      key[i] = held ? load_cache(k_cache, at + j) : float2(0.0f);
      value[i] = held ? load_cache(v_cache, at + j) : float2(0.0f);
    }
    for (uint n = 0; n < num_queries; ++n) {
      float score = 0.0f;
      for (uint i = 0; 64 * i < kHeadDim; ++i) score += dot(query[n][i], key[i]);
      score = simd_sum(score);
      const float new_maximum = max(maximum[n], score);
      const float fade = exp(maximum[n] - new_maximum);
      const float weight = exp(score - new_maximum);
      maximum[n] = new_maximum;
      total[n] = total[n] * fade + weight;
      for (uint i = 0; 64 * i < kHeadDim; ++i) {
        output[n][i] = output[n][i] * fade + weight * value[i];
      }
    }
  }

  // Each head in turn: what the simdgroups found, brought to one maximum and added up.
  for (uint n = 0; n < num_queries; ++n) {
    if (lane == 0) maxima[simdgroup] = maximum[n];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float found = lane < kAttentionSimdgroups ? maxima[lane] : -INFINITY;
    const float fade = exp(maximum[n] - simd_max(found));
    if (lane == 0) totals[simdgroup] = total[n] * fade;
    for (uint i = 0; 64 * i < kHeadDim; ++i) {
      const uint j = 64 * i + 2 * lane;
      if (j >= kHeadDim) break;
      outputs[simdgroup * kHeadDim + j] = output[n][i].x * fade;
      outputs[simdgroup * kHeadDim + j + 1] = output[n][i].y * fade;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_index < kHeadDim && first_query + n < kGroupQueries) {
      float sum = 0.0f;
      float all = 0.0f;
      for (uint s = 0; s < kAttentionSimdgroups; ++s) {
        sum += outputs[s * kHeadDim + thread_index];
        all += totals[s];
      }
      a[(heads + first_query + n) * kHeadDim + thread_index] = sum / all;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
