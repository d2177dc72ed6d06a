// Mistakes that the emulator must find, one a kernel; and the same without the mistake.
#include <metal_stdlib>

using namespace metal;

kernel void reverse(device float* to [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float values[64];
  values[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  to[i] = values[63 - i];
}

kernel void reverse_without_barrier(device float* to [[buffer(0)]],
                                    uint i [[thread_index_in_threadgroup]]) {
  threadgroup float values[64];
  values[i] = float(i);
  to[i] = values[63 - i];
}

kernel void barrier_in_a_branch(device float* to [[buffer(0)]],
                                uint i [[thread_index_in_threadgroup]]) {
  if (i < 32) threadgroup_barrier(mem_flags::mem_threadgroup);
  to[i] = float(i);
}

kernel void shuffle_from_inactive(device float* to [[buffer(0)]],
                                  uint i [[thread_index_in_threadgroup]]) {
  if (i % 32 < 31) to[i] = simd_shuffle_xor(float(i), 1);
}

kernel void matrix_in_a_branch(device float* to [[buffer(0)]],
                               uint i [[thread_index_in_threadgroup]]) {
  simdgroup_float8x8 a = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  if (i % 32 < 31) simdgroup_multiply(a, a, a);
  to[i] = 0.0f;
}

kernel void too_much_memory(device float* to [[buffer(0)]],
                            uint i [[thread_index_in_threadgroup]]) {
  threadgroup float values[32 * 1024 / 4];
  threadgroup float one_more[1];
  values[i] = float(i);
  if (i == 0) one_more[0] = 1.0f;
  to[i] = values[i];
}

kernel void unwritten(device float* to [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float values[65];
  values[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  to[i] = values[i + 1];
}
