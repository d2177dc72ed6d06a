#pragma once

#include <cstdint>

#include "dtype.h"

namespace openelm {

// The logical quantised formats, the same in checkpoints and for every backend: groups of
// kGroupSize columns (the last one padded with zeros), one float16 scale each.
//   q8: value = int8 * scale.
//   q4: value = (nibble - 8) * scale; byte j of a group's 16 holds column j in its low nibble and
//       column j + 16 in its high one.
// Plain IEEE arithmetic without contraction, so that every machine writes the same bytes.

// What is quantised must be finite.
bool all_finite(const float* x, int size);

// values [groups * 32], scales [groups]
void quantize_q8_row(const float* x, int cols, int8_t* values, uint16_t* scales);
void dequantize_q8_row(const int8_t* values, const uint16_t* scales, int cols, float* x);

// values [groups * 16], scales [groups]. The scale minimises the squared error of the group over a
// fine set of candidates.
void quantize_q4_row(const float* x, int cols, uint8_t* values, uint16_t* scales);
void dequantize_q4_row(const uint8_t* values, const uint16_t* scales, int cols, float* x);

// Adding it to a float32 of magnitude below 2^22 rounds that to an integer, to nearest even, which
// then stands in the low bits.
constexpr float kRoundingMagic = 12582912.0f;

// x * inverse, which is at most 9 in magnitude, as an integer from -8 to 7. Comparisons of integers
// leave compilers free to make vectors; those of floats may trap.
inline float q4_code(float x, float inverse) {
  const auto zero = int32_t(bits_of_float(kRoundingMagic));
  auto code = int32_t(bits_of_float(x * inverse + kRoundingMagic));
  code = code < zero - 8 ? zero - 8 : code;
  code = code > zero + 7 ? zero + 7 : code;
  return float_from_bits(uint32_t(code)) - kRoundingMagic;
}

// Scales that the search of quantize_q4_row tries, to a multiple of a vector: the last is none.
constexpr int kQ4Candidates = 20;

}  // namespace openelm
