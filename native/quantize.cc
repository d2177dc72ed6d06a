#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "model/weights.h"

namespace openelm {

// float16's largest; a scale beyond it would make a whole group infinite.
static constexpr float kLargestScale = 65504.0f;

static int groups_of(int cols) { return (cols + kGroupSize - 1) / kGroupSize; }

// The group that begins at column `begin`, padded with zeros.
static void copy_group(const float* x, int cols, int begin, float* group) {
  const int size = std::min(kGroupSize, cols - begin);
  std::memset(group, 0, kGroupSize * sizeof(float));
  std::memcpy(group, x + begin, size_t(size) * sizeof(float));
}

// Rounds to nearest even; |x| must be below 2^22.
static float round_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

void quantize_q8_row(const float* x, int cols, int8_t* values, uint16_t* scales) {
  for (int g = 0; g < groups_of(cols); ++g) {
    float group[kGroupSize];
    copy_group(x, cols, g * kGroupSize, group);
    float largest = 0;
    for (float value : group) largest = std::max(largest, std::fabs(value));
    scales[g] = float_to_f16(std::min(largest / 127.0f, kLargestScale));
    const float scale = f16_to_float(scales[g]);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int i = 0; i < kGroupSize; ++i) {
      // In this order a NaN becomes a bound, too.
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
  float codes[kGroupSize] = {};
  float best_codes[kGroupSize] = {};
  float best_gain = 0;
  float best_scale = 0;
  for (int step = -9; step <= 9 && extreme != 0; ++step) {
    const float inverse = (-8.0f + 0.1f * float(step)) / extreme;
    float xq[4] = {};
    float qq[4] = {};
    for (int i = 0; i < kGroupSize; ++i) {
      const float scaled = std::min(std::max(group[i] * inverse, -8.0f), 7.0f);
      codes[i] = round_even(scaled);
      xq[i % 4] += group[i] * codes[i];
      qq[i % 4] += codes[i] * codes[i];
    }
    const float dot = (xq[0] + xq[1]) + (xq[2] + xq[3]);
    const float norm = (qq[0] + qq[1]) + (qq[2] + qq[3]);
    if (norm > 0 && dot * dot > best_gain * norm) {
      best_gain = dot * dot / norm;
      best_scale = dot / norm;
      std::memcpy(best_codes, codes, sizeof codes);
    }
  }
  *scale = float_to_f16(std::clamp(best_scale, -kLargestScale, kLargestScale));
  for (int j = 0; j < kGroupSize / 2; ++j) {
    const int low = int(best_codes[j]) + 8;
    const int high = int(best_codes[j + kGroupSize / 2]) + 8;
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
