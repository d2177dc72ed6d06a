#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dtype.h"
#include "simd/kernels.h"

namespace openelm {

// The group that begins at column `begin`, padded with zeros.
static void copy_group(const float* x, int cols, int begin, float* group) {
  const int size = std::min(kGroupSize, cols - begin);
  std::memset(group, 0, kGroupSize * sizeof(float));
  std::memcpy(group, x + begin, size_t(size) * sizeof(float));
}

bool all_finite(const float* x, int size) {
  uint32_t infinite = 0;
  for (int i = 0; i < size; ++i) infinite |= (bits_of_float(x[i]) & 0x7f800000) == 0x7f800000;
  return infinite == 0;
}

// |x| must be below 2^22.
static float round_even(float x) { return (x + kRoundingMagic) - kRoundingMagic; }

void quantize_q8_row(const float* x, int cols, int8_t* values, uint16_t* scales) {
  for (int g = 0; g < groups_of(cols); ++g) {
    float group[kGroupSize];
    copy_group(x, cols, g * kGroupSize, group);
    float largest = 0;
    for (float value : group) largest = std::max(largest, std::fabs(value));
    scales[g] = float_to_f16(std::min(largest / 127.0f, kMaxFloat16));
    const float scale = f16_to_float(scales[g]);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int i = 0; i < kGroupSize; ++i) {
      const float scaled = std::max(-127.0f, std::min(127.0f, group[i] * inverse));
      values[g * kGroupSize + i] = int8_t(round_even(scaled));
    }
  }
}

void dequantize_q8_row(const int8_t* values, const uint16_t* scales, int cols, float* x) {
  for (int i = 0; i < cols; ++i) x[i] = float(values[i]) * f16_to_float(scales[i / kGroupSize]);
}

// With the codes q of a candidate scale fixed, the best scale is <x,q>/<q,q> and leaves the squared
// error <x,x> - <x,q>^2/<q,q>: so the best candidate has the largest <x,q>^2/<q,q>.
static void quantize_q4_group(const float* group, uint8_t* values, uint16_t* scale) {
  float extreme = 0;  // of largest magnitude, with its sign
  for (int i = 0; i < kGroupSize; ++i) {
    if (std::fabs(group[i]) > std::fabs(extreme)) extreme = group[i];
  }
  float inverses[kQ4Candidates] = {};
  float dots[kQ4Candidates];
  float norms[kQ4Candidates];
  const bool is_normal = std::fabs(extreme) > 0x1p-120f;  // else the inverses would be infinite
  for (int c = 0; c < kQ4Candidates - 1 && is_normal; ++c) {
    inverses[c] = (-8.0f + 0.1f * float(c - 9)) / extreme;
  }
  cpu_kernels().q4_products(group, inverses, dots, norms);

  float best_gain = 0;
  float best_scale = 0;
  float best_inverse = 0;
  for (int c = 0; c < kQ4Candidates; ++c) {
    if (norms[c] > 0 && dots[c] * dots[c] > best_gain * norms[c]) {
      best_gain = dots[c] * dots[c] / norms[c];
      best_scale = dots[c] / norms[c];
      best_inverse = inverses[c];
    }
  }
  *scale = float_to_f16(std::clamp(best_scale, -kMaxFloat16, kMaxFloat16));
  for (int j = 0; j < kGroupSize / 2; ++j) {
    const int low = int(q4_code(group[j], best_inverse)) + 8;
    const int high = int(q4_code(group[j + kGroupSize / 2], best_inverse)) + 8;
    values[j] = uint8_t(low | high << 4);
  }
}

void quantize_q4_row(const float* x, int cols, uint8_t* values, uint16_t* scales) {
  for (int g = 0; g < groups_of(cols); ++g) {
    float group[kGroupSize];
    copy_group(x, cols, g * kGroupSize, group);
    quantize_q4_group(group, values + g * kGroupSize / 2, scales + g);
  }
}

void dequantize_q4_row(const uint8_t* values, const uint16_t* scales, int cols, float* x) {
  for (int i = 0; i < cols; ++i) {
    const int byte = values[i / kGroupSize * (kGroupSize / 2) + i % (kGroupSize / 2)];
    const int nibble = i % kGroupSize < kGroupSize / 2 ? byte & 15 : byte >> 4;
    x[i] = float(nibble - 8) * f16_to_float(scales[i / kGroupSize]);
  }
}

}  // namespace openelm
