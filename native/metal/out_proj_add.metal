// x [T, d] += a [T, Hq*h] out_projᵀ.
#include "add.h"

kernel void out_proj_add(device const uchar* values [[buffer(0)]],
                         device const half* scales [[buffer(1)]],
                         device const float* a [[buffer(2)]], device float* x [[buffer(3)]],
                         constant MatrixArgs& args [[buffer(4)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]]) {
  matvec_add(make_matrix(values, scales, args), a, x, args, matvec_row(group, simdgroup), lane);
}

kernel void out_proj_add_prefill(device const uchar* values [[buffer(0)]],
                                 device const half* scales [[buffer(1)]],
                                 device const float* a [[buffer(2)]], device float* x [[buffer(3)]],
                                 constant MatrixArgs& args [[buffer(4)]],
                                 uint2 group [[threadgroup_position_in_grid]],
                                 uint thread_index [[thread_index_in_threadgroup]],
                                 uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 tile[kTileFloats / 4];
  matmul_add(make_matrix(values, scales, args), a, x, args, group,
             reinterpret_cast<threadgroup float*>(tile), thread_index, simdgroup);
}
