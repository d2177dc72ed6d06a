#pragma once

#include <cstdint>
#include <cstring>

namespace openelm {

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
