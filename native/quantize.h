#pragma once

#include <cstdint>

namespace openelm {

// The logical quantised formats, the same in checkpoints and for every backend: groups of
// kGroupSize columns (the last one padded with zeros), one float16 scale each.
//   q8: value = int8 * scale.
//   q4: value = (nibble - 8) * scale; byte j of a group's 16 holds column j in its low nibble and
//       column j + 16 in its high one.
// Plain IEEE arithmetic without contraction, so that every machine writes the same bytes.

// values [groups * 32], scales [groups]
void quantize_q8_row(const float* x, int cols, int8_t* values, uint16_t* scales);
void dequantize_q8_row(const int8_t* values, const uint16_t* scales, int cols, float* x);

// values [groups * 16], scales [groups]. The scale minimises the squared error of the group over a
// fine set of candidates.
void quantize_q4_row(const float* x, int cols, uint8_t* values, uint16_t* scales);
void dequantize_q4_row(const uint8_t* values, const uint16_t* scales, int cols, float* x);

}  // namespace openelm
