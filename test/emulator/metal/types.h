#pragma once

// The types of the Metal Shading Language, for both the emulator and the lint: the compiler's own
// vectors have Metal's sizes, alignment, swizzles and operators.

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using half = _Float16;
using bfloat = __bf16;

#define METAL_VECTORS(type)                                 \
  using type##2 = type __attribute__((ext_vector_type(2))); \
  using type##3 = type __attribute__((ext_vector_type(3))); \
  using type##4 = type __attribute__((ext_vector_type(4)));
METAL_VECTORS(char)
METAL_VECTORS(uchar)
METAL_VECTORS(short)
METAL_VECTORS(ushort)
METAL_VECTORS(int)
METAL_VECTORS(uint)
METAL_VECTORS(ulong)
METAL_VECTORS(half)
METAL_VECTORS(float)
#undef METAL_VECTORS

namespace metal {

template <typename T, int N>
using Vector = T __attribute__((ext_vector_type(N)));

// What a constructor of Metal's vectors does and the compiler's have no syntax for: float4(half4),
// float4(1.0f) and float4(a, b, c, d).
template <typename To, typename From, int N>
constexpr To make_vector(Vector<From, N> from) {
  return __builtin_convertvector(from, To);
}
template <typename To>
constexpr To make_vector(decltype(To{}.x + 0) value) {
  return To(value);
}
template <typename To, typename A, typename B, typename... More>
constexpr To make_vector(A a, B b, More... more) {
  using Element = __remove_cvref(decltype(To{}[0]));
  return To{Element(a), Element(b), Element(more)...};
}

template <typename To, typename From>
constexpr To as_type(From from) {
  static_assert(sizeof(To) == sizeof(From), "as_type must keep the size");
  return __builtin_bit_cast(To, from);
}

enum class mem_flags { mem_none, mem_device, mem_threadgroup };

}  // namespace metal

#define float2(...) metal::make_vector<float2>(__VA_ARGS__)
#define float4(...) metal::make_vector<float4>(__VA_ARGS__)
#define half2(...) metal::make_vector<half2>(__VA_ARGS__)
#define half4(...) metal::make_vector<half4>(__VA_ARGS__)
#define uint2(...) metal::make_vector<uint2>(__VA_ARGS__)
#define uint4(...) metal::make_vector<uint4>(__VA_ARGS__)
#define ulong2(...) metal::make_vector<ulong2>(__VA_ARGS__)
#define uchar4(...) metal::make_vector<uchar4>(__VA_ARGS__)
#define char4(...) metal::make_vector<char4>(__VA_ARGS__)
#define ushort4(...) metal::make_vector<ushort4>(__VA_ARGS__)
