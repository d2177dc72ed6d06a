// norm(x) qkv_projᵀ, per-head RMSNorm of queries and keys, RoPE: x [T, d] -> q [T, Hq*h] and, in
// the caches, k and v [positions, Hkv*h]. The rows of qkv_proj are all query heads, all key heads,
// all value heads.
#include "cache.h"
#include "matmul.h"
#include "matvec.h"

constant constexpr uint kMaxHeadDim = 256;
constant constexpr uint kHeadSimdgroups = 16;  // of a threadgroup that makes a head from x
constant constexpr uint kHeadThreads = kHeadSimdgroups * kSimdWidth;

// Finishes one head of one token, with one simdgroup: rope [h/2] holds (cos, sin) of the token's
// position, and element j turns with element j + h/2.
static inline void finish_head(threadgroup const float* head, uint index, uint token, uint position,
                               device const float* q_norm, device const float* k_norm,
                               device const float2* rope, device float* q, device uchar* k_cache,
                               device uchar* v_cache, constant RunArgs& args, uint lane) {
  const uint half_dim = kHeadDim / 2;
  if (index >= args.num_query_heads + args.num_kv_heads) {
    const uint kv_head = index - args.num_query_heads - args.num_kv_heads;
    const ulong to = cache_index(position, kv_head, args);
    for (uint j = lane; j < kHeadDim; j += kSimdWidth) store_cache(v_cache, to + j, head[j]);
    return;
  }
  const bool is_query = index < args.num_query_heads;
  device const float* norm = is_query ? q_norm : k_norm;
  float scale = 1.0f;
  if (kQkNorm) {
    float squares = 0.0f;
    for (uint j = lane; j < kHeadDim; j += kSimdWidth) squares += head[j] * head[j];
    scale = rsqrt(simd_sum(squares) / float(kHeadDim) + args.rms_norm_eps);
  }
  for (uint j = lane; j < half_dim; j += kSimdWidth) {
    const float2 turn = rope[j];
    const float a = head[j] * scale * (kQkNorm ? norm[j] : 1.0f);
    const float b = head[j + half_dim] * scale * (kQkNorm ? norm[j + half_dim] : 1.0f);
    const float turned_a = a * turn.x - b * turn.y;
    const float turned_b = b * turn.x + a * turn.y;
    if (is_query) {
      device float* to = q + (ulong(token) * args.num_query_heads + index) * kHeadDim;
      to[j] = turned_a;
      to[j + half_dim] = turned_b;
    } else {
      const ulong to = cache_index(position, index - args.num_query_heads, args);
      store_cache(k_cache, to + j, turned_a);
      store_cache(k_cache, to + j + half_dim, turned_b);
    }
  }
}

// For one token. Each threadgroup computes one head.
[[max_total_threads_per_threadgroup(kHeadThreads)]]
kernel void norm_qkv(device const uchar* values [[buffer(0)]],
                     device const half* scales [[buffer(1)]],
                     device const float* norm_weight [[buffer(2)]],
                     device const float* x [[buffer(3)]], device const float* q_norm [[buffer(4)]],
                     device const float* k_norm [[buffer(5)]],
                     device const float2* rope [[buffer(6)]], device float* q [[buffer(7)]],
                     device uchar* k_cache [[buffer(8)]], device uchar* v_cache [[buffer(9)]],
                     constant MatrixArgs& args [[buffer(10)]], constant RunArgs& run [[buffer(11)]],
                     uint index [[threadgroup_position_in_grid]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float head[kMaxHeadDim];
  const Matrix w = make_matrix(values, scales, args);
  for (uint j = simdgroup * kMatvecRows; j < kHeadDim; j += kHeadSimdgroups * kMatvecRows) {
    const float4 sums = matvec<true>(w, index * kHeadDim + j, x, norm_weight, args, lane);
    if (lane < kMatvecRows) head[j + lane] = sums[lane];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) return;
  finish_head(head, index, 0, run.first_position, q_norm, k_norm, rope, q, k_cache, v_cache, run,
              lane);
}

// qkv [T, (Hq + 2*Hkv)*h] = norm(x) qkv_projᵀ.
kernel void norm_qkv_prefill(device const uchar* values [[buffer(0)]],
                             device const half* scales [[buffer(1)]],
                             device const float* norm_weight [[buffer(2)]],
                             device const float* x [[buffer(3)]], device float* qkv [[buffer(4)]],
                             constant MatrixArgs& args [[buffer(5)]],
                             uint2 group [[threadgroup_position_in_grid]],
                             uint thread_index [[thread_index_in_threadgroup]],
                             uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 tile4[kTileFloats / 4];
  threadgroup float* tile = reinterpret_cast<threadgroup float*>(tile4);
  const uint first_row = group.x * kTileRows;
  const uint first_token = group.y * kTileTokens;
  const uint token = first_token + thread_index / 4;
  matmul<true>(make_matrix(values, scales, args), first_row,
               token < args.num_tokens ? x + ulong(token) * args.cols : nullptr, norm_weight, args,
               tile, thread_index, simdgroup);
  store_tile<true>(tile, qkv, first_token, first_row, args, thread_index);
}

// The rest of it, for the tokens of one session: a simdgroup finishes one head of one token.
kernel void norm_qkv_heads(device const float* qkv [[buffer(0)]],
                           device const float* q_norm [[buffer(1)]],
                           device const float* k_norm [[buffer(2)]],
                           device const float2* rope [[buffer(3)]], device float* q [[buffer(4)]],
                           device uchar* k_cache [[buffer(5)]], device uchar* v_cache [[buffer(6)]],
                           constant RunArgs& run [[buffer(7)]],
                           uint2 group [[threadgroup_position_in_grid]],
                           uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float head[kMaxHeadDim];
  const uint token = run.first_token + group.y;
  const uint num_heads = run.num_query_heads + 2 * run.num_kv_heads;
  device const float* from = qkv + (ulong(token) * num_heads + group.x) * kHeadDim;
  for (uint j = lane; j < kHeadDim; j += kSimdWidth) head[j] = from[j];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  finish_head(head, group.x, token, run.first_position + group.y, q_norm, k_norm,
              rope + ulong(token) * (kHeadDim / 2), q, k_cache, v_cache, run, lane);
}
