#pragma once

// Metal's address spaces and constness for a compile that is never run: what the emulator lets
// through because on a CPU all memory is alike. C++14, as Metal is.

#include "types.h"

#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2))) const
#define threadgroup __attribute__((address_space(3)))
#define thread
#define kernel
#define FUNCTION_CONSTANT(type, name, index) extern constant type name
#define THREADGROUP_ARRAY(type, name, dimensions) static threadgroup type name dimensions
#define INFINITY __builtin_inff()

namespace metal {

// Names of Metal's own library, so that one of ours cannot mean both.
template <typename T, int kCols, int kRows>
struct matrix;
template <typename T, int kSize>
struct vec;
template <typename T, ulong kSize>
struct array;
float abs(float x);
float clamp(float x, float low, float high);
float cross(float3 a, float3 b);
float fract(float x);
float length(float4 x);
float mix(float a, float b, float weight);
float normalize(float4 x);
float select(float a, float b, bool c);
float step(float edge, float x);
uint reverse_bits(uint x);
uint rotate(uint a, uint b);

struct simdgroup_float8x8 {
  float elements[2];
};

template <typename T>
T simd_sum(T value);
template <typename T>
T simd_max(T value);
template <typename T>
T simd_shuffle_xor(T value, ushort mask);
void threadgroup_barrier(mem_flags flags);
void simdgroup_barrier(mem_flags flags);

template <typename T, int kRows, int kCols>
simdgroup_float8x8 make_filled_simdgroup_matrix(T value);
void simdgroup_load(simdgroup_float8x8& to, threadgroup const float* from, ulong stride,
                    ulong2 origin = 0, bool transpose = false);
void simdgroup_store(simdgroup_float8x8 from, threadgroup float* to, ulong stride);
void simdgroup_multiply(simdgroup_float8x8& d, simdgroup_float8x8 a, simdgroup_float8x8 b);
void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a,
                                   simdgroup_float8x8 b, simdgroup_float8x8 c);

float dot(float2 a, float2 b);
float dot(float4 a, float4 b);
float exp(float x);
float rsqrt(float x);
float max(float a, float b);
uint max(uint a, uint b);
float min(float a, float b);
uint min(uint a, uint b);

}  // namespace metal
