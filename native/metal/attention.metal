// a [T, Hq*h] = softmax(q kᵀ / √h) v, causal, each query head over the KV head of its group.
#include "cache.h"

constant constexpr uint kAttentionSimdgroups = 16;
constant constexpr uint kAttentionThreads = kAttentionSimdgroups * kSimdWidth;
constant constexpr uint kMaxQueries = 4;  // query heads of one KV head that a threadgroup takes
constant constexpr uint kMaxPairs = 4;    // of elements of a head that a lane holds: h <= 256

// One token. A threadgroup takes up to four query heads of one KV head, its simdgroups take every
// sixteenth position, and a lane holds elements 2*lane and 2*lane + 1 of every 64: so each key and
// value is read once. Long sessions are split over several threadgroups, which leave in `partials`
// [tokens, Hq, splits, h + 2] their sums, the maximum these are relative to, and the total weight.
[[max_total_threads_per_threadgroup(kAttentionThreads)]]
kernel void split_attention(device const float* q [[buffer(0)]],
                      device const uchar* k_cache [[buffer(1)]],
                      device const uchar* v_cache [[buffer(2)]], device float* a [[buffer(3)]],
                      device float* partials [[buffer(4)]], constant RunArgs& run [[buffer(5)]],
                      constant uint& num_splits [[buffer(6)]],
                      uint3 group [[threadgroup_position_in_grid]],
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
  UNROLL for (uint n = 0; n < kMaxQueries; ++n) {
    if (n >= num_queries) break;
    const ulong head = heads + min(first_query + n, kGroupQueries - 1);
    UNROLL for (uint i = 0; i < kMaxPairs; ++i) {
      if (64 * i >= kHeadDim) break;
      const uint j = 64 * i + 2 * lane;
      const bool held = j < kHeadDim;
      query[n][i] = held ? *reinterpret_cast<device const float2*>(q + head * kHeadDim + j) * scale
                         : float2(0.0f);
      output[n][i] = float2(0.0f);
    }
    maximum[n] = -INFINITY;
    total[n] = 0.0f;
  }

  const uint step = num_splits * kAttentionSimdgroups;
  for (uint position = group.z * kAttentionSimdgroups + simdgroup; position < num_positions;
       position += step) {
    const ulong at = cache_index(position, kv_head, run);
    float2 key[kMaxPairs];
    float2 value[kMaxPairs];
    UNROLL for (uint i = 0; i < kMaxPairs; ++i) {
      if (64 * i >= kHeadDim) break;
      const uint j = 64 * i + 2 * lane;
      const bool held = j < kHeadDim;
      key[i] = held ? load_cache(k_cache, at + j) : float2(0.0f);
      value[i] = held ? load_cache(v_cache, at + j) : float2(0.0f);
    }
    UNROLL for (uint n = 0; n < kMaxQueries; ++n) {
      if (n >= num_queries) break;
      float score = 0.0f;
      UNROLL for (uint i = 0; i < kMaxPairs; ++i) {
        if (64 * i < kHeadDim) score += dot(query[n][i], key[i]);
      }
      score = simd_sum(score);
      const float new_maximum = max(maximum[n], score);
      const float fade = exp(maximum[n] - new_maximum);
      const float weight = exp(score - new_maximum);
      maximum[n] = new_maximum;
      total[n] = total[n] * fade + weight;
      UNROLL for (uint i = 0; i < kMaxPairs; ++i) {
        if (64 * i < kHeadDim) output[n][i] = output[n][i] * fade + weight * value[i];
      }
    }
  }

  // Each head in turn: what the simdgroups found, brought to one maximum and added up.
  UNROLL for (uint n = 0; n < kMaxQueries; ++n) {
    if (n >= num_queries) break;
    if (lane == 0) maxima[simdgroup] = maximum[n];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const float found = lane < kAttentionSimdgroups ? maxima[lane] : -INFINITY;
    const float all_maximum = simd_max(found);
    const float fade = exp(maximum[n] - all_maximum);
    if (lane == 0) totals[simdgroup] = total[n] * fade;
    UNROLL for (uint i = 0; i < kMaxPairs; ++i) {
      if (64 * i >= kHeadDim) break;
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
      const ulong head = heads + first_query + n;
      if (num_splits == 1) {
        a[head * kHeadDim + thread_index] = sum / all;
      } else {
        const ulong in_run = head - ulong(run.first_token) * run.num_query_heads;
        device float* partial = partials + (in_run * num_splits + group.z) * (kHeadDim + 2);
        partial[thread_index] = sum;
        if (thread_index == 0) {
          partial[kHeadDim] = all_maximum;
          partial[kHeadDim + 1] = all;
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// Adds up the splits: a threadgroup of h threads takes one head of one token.
kernel void attention_reduce(device const float* partials [[buffer(0)]],
                             device float* a [[buffer(1)]], constant RunArgs& run [[buffer(2)]],
                             constant uint& num_splits [[buffer(3)]],
                             uint2 group [[threadgroup_position_in_grid]],
                             uint j [[thread_index_in_threadgroup]]) {
  const uint width = kHeadDim + 2;
  const ulong in_run = ulong(group.y) * run.num_query_heads + group.x;
  device const float* first = partials + in_run * num_splits * width;
  float maximum = -INFINITY;
  for (uint s = 0; s < num_splits; ++s) maximum = max(maximum, first[s * width + kHeadDim]);
  float sum = 0.0f;
  float total = 0.0f;
  for (uint s = 0; s < num_splits; ++s) {
    const float fade = exp(first[s * width + kHeadDim] - maximum);
    sum += first[s * width + j] * fade;
    total += first[s * width + kHeadDim + 1] * fade;
  }
  const ulong head = ulong(run.first_token) * run.num_query_heads + in_run;
  a[head * kHeadDim + j] = sum / total;
}

// Many tokens of one session, where h is a multiple of 8 and at most 128. A row is a query head of
// a token: a threadgroup takes 32 rows that share a KV head, eight a simdgroup, and passes over
// keys and values in tiles of 32 positions with an online softmax. All of it is simdgroup matrices;
// what scales the rows of one from the left is a diagonal matrix.
constant constexpr uint kRows = 32;
constant constexpr uint kTileKeys = 32;
constant constexpr uint kTileThreads = 128;
constant constexpr uint kMaxTileDim = 128;
constant constexpr uint kMaxMatrices = kMaxTileDim / 8;  // across a head
constant constexpr uint kKeyStride = kMaxTileDim + 4;    // of 32 keys, values or rows
constant constexpr uint kScoreStride = kTileKeys + 4;

// Rows of a threadgroup, counted over tokens and then the query heads of the group.
struct QueryRow {
  uint token;     // in the run
  ulong head;     // in q and a
  bool is_valid;  // not beyond the last
};

static inline QueryRow query_row(uint index, uint kv_head, constant RunArgs& run) {
  const uint last = run.num_tokens * kGroupQueries - 1;
  const uint row = min(index, last);
  const uint token = row / kGroupQueries;
  const uint head = kv_head * kGroupQueries + row % kGroupQueries;
  return QueryRow{token, ulong(run.first_token + token) * run.num_query_heads + head,
                  index <= last};
}

// Positions [first, first + 32) of keys or of values; zeros where there are none yet.
static inline void stage_cache(device const uchar* cache, uint first, uint kv_head,
                               constant RunArgs& run, threadgroup float* tile, uint thread_index) {
  const uint end = run.first_position + run.num_tokens;
  const uint pairs = kHeadDim / 2;
  for (uint i = thread_index; i < kTileKeys * pairs; i += kTileThreads) {
    const uint key = i / pairs;
    const uint j = i % pairs * 2;
    const bool held = first + key < end;
    const float2 pair =
        held ? load_cache(cache, cache_index(first + key, kv_head, run) + j) : float2(0.0f);
    tile[key * kKeyStride + j] = pair.x;
    tile[key * kKeyStride + j + 1] = pair.y;
  }
}

// The running softmax of one row, the same in the four lanes that share it.
struct RunningSoftmax {
  float maximum;
  float total;
};

static inline float row_max(float value) {
  value = max(value, simd_shuffle_xor(value, 1));
  return max(value, simd_shuffle_xor(value, 2));
}

static inline float row_sum(float value) {
  value += simd_shuffle_xor(value, 1);
  return value + simd_shuffle_xor(value, 2);
}

// Turns a simdgroup's scores [8, 32] into weights, zero beyond `position`, the row's own; `fades`
// is the diagonal matrix by which earlier sums shrink. A lane takes eight scores of row lane / 4.
static inline void softmax_tile(threadgroup float* scores, threadgroup float* fades, uint first,
                                uint position, thread RunningSoftmax& softmax, uint lane) {
  const uint row = lane / 4;
  const uint column = lane % 4 * 8;
  threadgroup float* at = scores + row * kScoreStride + column;
  float largest = -INFINITY;
  for (uint i = 0; i < 8; ++i) {
    if (first + column + i <= position) largest = max(largest, at[i]);
  }
  // Position 0 is in the first tile and every row sees it, so that this is finite.
  const float maximum = max(softmax.maximum, row_max(largest));
  const float fade = exp(softmax.maximum - maximum);
  float sum = 0.0f;
  for (uint i = 0; i < 8; ++i) {
    const float weight = first + column + i <= position ? exp(at[i] - maximum) : 0.0f;
    at[i] = weight;
    sum += weight;
  }
  softmax.maximum = maximum;
  softmax.total = softmax.total * fade + row_sum(sum);
  if (lane % 4 == 0) fades[row * 8 + row] = fade;
}

kernel void tiled_attention(device const float* q [[buffer(0)]],
                              device const uchar* k_cache [[buffer(1)]],
                              device const uchar* v_cache [[buffer(2)]],
                              device float* a [[buffer(3)]], constant RunArgs& run [[buffer(4)]],
                              uint2 group [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float tile[kRows * kKeyStride];  // rows of q, then keys and values, then rows of a
  threadgroup float all_scores[kRows * kScoreStride];
  threadgroup float all_fades[kRows * 8];
  threadgroup float* rows = tile + simdgroup * 8 * kKeyStride;
  threadgroup float* scores = all_scores + simdgroup * 8 * kScoreStride;
  threadgroup float* fades = all_fades + simdgroup * 64;
  const uint kv_head = group.x;
  const uint first_row = group.y * kRows;
  const uint matrices = kHeadDim / 8;

  const float scale = rsqrt(float(kHeadDim));
  for (uint i = thread_index; i < kRows * kHeadDim; i += kTileThreads) {
    const QueryRow row = query_row(first_row + i / kHeadDim, kv_head, run);
    const uint j = i % kHeadDim;
    tile[i / kHeadDim * kKeyStride + j] = q[row.head * kHeadDim + j] * scale;
  }
  for (uint i = lane; i < 64; i += kSimdWidth) fades[i] = 0.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_float8x8 query[kMaxMatrices];
  simdgroup_float8x8 output[kMaxMatrices];
  UNROLL for (uint m = 0; m < kMaxMatrices; ++m) {
    if (m >= matrices) break;
    simdgroup_load(query[m], rows + 8 * m, kKeyStride);
    output[m] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  const QueryRow own = query_row(first_row + simdgroup * 8 + lane / 4, kv_head, run);
  const QueryRow last = query_row(first_row + kRows - 1, kv_head, run);
  const uint position = run.first_position + own.token;
  RunningSoftmax softmax = RunningSoftmax{-INFINITY, 0.0f};
  simdgroup_float8x8 left, right;

  for (uint first = 0; first <= run.first_position + last.token; first += kTileKeys) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    stage_cache(k_cache, first, kv_head, run, tile, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint n = 0; n < kTileKeys; n += 8) {
      left = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
      UNROLL for (uint m = 0; m < kMaxMatrices; ++m) {
        if (m >= matrices) break;
        simdgroup_load(right, tile + n * kKeyStride + 8 * m, kKeyStride, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(left, query[m], right, left);
      }
      simdgroup_store(left, scores + n, kScoreStride);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    stage_cache(v_cache, first, kv_head, run, tile, thread_index);
    softmax_tile(scores, fades, first, position, softmax, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_load(left, fades, 8);
    UNROLL for (uint m = 0; m < kMaxMatrices; ++m) {
      if (m < matrices) simdgroup_multiply(output[m], left, output[m]);
    }
    for (uint n = 0; n < kTileKeys; n += 8) {
      simdgroup_load(left, scores + n, kScoreStride);
      UNROLL for (uint m = 0; m < kMaxMatrices; ++m) {
        if (m >= matrices) break;
        simdgroup_load(right, tile + n * kKeyStride + 8 * m, kKeyStride);
        simdgroup_multiply_accumulate(output[m], left, right, output[m]);
      }
    }
  }

  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (lane % 4 == 0) fades[lane / 4 * 9] = 1.0f / softmax.total;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_load(left, fades, 8);
  UNROLL for (uint m = 0; m < kMaxMatrices; ++m) {
    if (m >= matrices) break;
    simdgroup_multiply(output[m], left, output[m]);
    simdgroup_store(output[m], rows + 8 * m, kKeyStride);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = thread_index; i < kRows * kHeadDim; i += kTileThreads) {
    const QueryRow row = query_row(first_row + i / kHeadDim, kv_head, run);
    const uint j = i % kHeadDim;
    if (row.is_valid) a[row.head * kHeadDim + j] = tile[i / kHeadDim * kKeyStride + j];
  }
}
