#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace openelm {

// How the elements of a matrix are stored. kQ8 and kQ4 (quantize.h) are groups of kGroupSize
// elements along a row, the last one filled up with zeros, with one float16 scale each.
enum class DType : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kQ8,
  kQ4,
};

constexpr int kGroupSize = 32;

constexpr bool is_quantized(DType dtype) { return dtype == DType::kQ8 || dtype == DType::kQ4; }

// Of a row of `cols` elements.
constexpr int groups_of(int cols) { return (cols + kGroupSize - 1) / kGroupSize; }

// A row of `cols` elements, filled up to whole groups.
constexpr int padded_to_groups(int cols) { return groups_of(cols) * kGroupSize; }

// Of so many elements without their scales. `count` is even for kQ4.
constexpr size_t bytes_of(DType dtype, size_t count) {
  switch (dtype) {
    case DType::kFloat32:
      return count * 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return count * 2;
    case DType::kQ8:
      return count;
    case DType::kQ4:
      break;
  }
  return count / 2;
}

// A row of `cols` elements as checkpoints store it and RowReader gives it: only quantised rows are
// filled up.
constexpr size_t value_row_bytes(DType dtype, int cols) {
  return bytes_of(dtype, size_t(is_quantized(dtype) ? padded_to_groups(cols) : cols));
}

// The scales of such a row: none of a float type.
constexpr size_t scale_row_bytes(DType dtype, int cols) {
  return is_quantized(dtype) ? size_t(groups_of(cols)) * 2 : 0;
}

inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float bf16_to_float(uint16_t value) { return float_from_bits(uint32_t(value) << 16); }

// Rounds to nearest, ties to even; a NaN stays one.
inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of_float(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float f16_to_float(uint16_t value) {
  const uint32_t sign = uint32_t(value & 0x8000) << 16;
  const uint32_t exponent_and_mantissa = value & 0x7fff;
  if (exponent_and_mantissa >= 0x7c00) {  // infinity or NaN
    return float_from_bits(sign | 0x7f800000 | exponent_and_mantissa << 13);
  }
  if (exponent_and_mantissa < 0x400) {  // zero or subnormal: units of 2^-24
    const float magnitude = float(exponent_and_mantissa) * 0x1p-24f;
    return float_from_bits(sign | bits_of_float(magnitude));
  }
  return float_from_bits(sign | ((exponent_and_mantissa << 13) + (uint32_t(127 - 15) << 23)));
}

inline constexpr float kMaxFloat16 = 65504;

// Rounds to nearest, ties to even; overflows to infinity; a NaN stays one.
inline uint16_t float_to_f16(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to 65536 or more
  if (magnitude < 0x38800000) {                       // subnormal: let the FPU round at 2^-24
    const float shifted = float_from_bits(magnitude) + 0.5f;
    return sign | uint16_t(bits_of_float(shifted) - bits_of_float(0.5f));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return sign | uint16_t((rounded - (uint32_t(127 - 15) << 23)) >> 13);
}

}  // namespace openelm
