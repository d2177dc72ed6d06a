// logits [n, V] = norm(x) lm_headᵀ of the n tokens in logit_rows.
#include "matmul.h"
#include "matvec.h"

kernel void norm_logits(
    device const uchar* values [[buffer(0)]], device const half* scales [[buffer(1)]],
    device const float* norm_weight [[buffer(2)]], device const float* x [[buffer(3)]],
    device const int* logit_rows [[buffer(4)]], device float* logits [[buffer(5)]],
    constant MatrixArgs& args [[buffer(6)]], uint group [[threadgroup_position_in_grid]],
    uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint row = matvec_row(group, simdgroup);
  const float4 sums = matvec<true>(make_matrix(values, scales, args), row,
                                   x + ulong(logit_rows[0]) * args.cols, norm_weight, args, lane);
  if (lane < kMatvecRows && row + lane < args.rows) logits[row + lane] = sums[lane];
}

kernel void norm_logits_prefill(
    device const uchar* values [[buffer(0)]], device const half* scales [[buffer(1)]],
    device const float* norm_weight [[buffer(2)]], device const float* x [[buffer(3)]],
    device const int* logit_rows [[buffer(4)]], device float* logits [[buffer(5)]],
    constant MatrixArgs& args [[buffer(6)]], uint2 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 tile4[kTileFloats / 4];
  threadgroup float* tile = reinterpret_cast<threadgroup float*>(tile4);
  const uint first_row = group.x * kTileRows;
  const uint first_token = group.y * kTileTokens;
  const uint token = first_token + thread_index / 4;
  device const float* from =
      token < args.num_tokens ? x + ulong(logit_rows[token]) * args.cols : nullptr;
  matmul<true>(make_matrix(values, scales, args), first_row, from, norm_weight, args, tile, thread_index,
               simdgroup);
  store_tile<true>(tile, logits, first_token, first_row, args, thread_index);
}
