// g [T, f] = silu(gate) ⊙ up, where gate and up are the halves of norm(x) proj_1ᵀ; silu of all of
// it without GLU. With GLU the host stores the rows of proj_1 as gate, up, gate, up and so on.
#include "matmul.h"
#include "matvec.h"

kernel void norm_swiglu(device const uchar* values [[buffer(0)]],
                        device const half* scales [[buffer(1)]],
                        device const float* norm_weight [[buffer(2)]],
                        device const float* x [[buffer(3)]], device float* g [[buffer(4)]],
                        constant MatrixArgs& args [[buffer(5)]],
                        uint group [[threadgroup_position_in_grid]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]],
                        uint lane [[thread_index_in_simdgroup]]) {
  const uint row = matvec_row(group, simdgroup);
  const Matrix w = make_matrix(values, scales, args);
  const float4 sums = matvec<true>(w, row, x, norm_weight, args, lane);
  if (lane >= kMatvecRows || row + lane >= args.rows) return;
  if (!kGlu) {
    g[row + lane] = silu(sums[lane]);
  } else if (lane % 2 == 0) {
    g[(row + lane) / 2] = silu(sums[lane]) * sums[lane + 1];
  }
}

kernel void norm_swiglu_prefill(device const uchar* values [[buffer(0)]],
                                device const half* scales [[buffer(1)]],
                                device const float* norm_weight [[buffer(2)]],
                                device const float* x [[buffer(3)]], device float* g [[buffer(4)]],
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

  const uint step = kGlu ? 2 : 1;  // rows of proj_1 to an element of g
  const uint width = kTileRows / step;
  for (uint i = thread_index; i < kTileTokens * width; i += kMatmulThreads) {
    const uint in_token = i / width;
    const uint in_row = i % width * step;
    if (first_token + in_token >= args.num_tokens || first_row + in_row >= args.rows) continue;
    float value = silu(tile_value<true>(tile, in_token, in_row));
    if (kGlu) value *= tile_value<true>(tile, in_token, in_row + 1);
    g[ulong(first_token + in_token) * (args.rows / step) + (first_row + in_row) / step] = value;
  }
}
