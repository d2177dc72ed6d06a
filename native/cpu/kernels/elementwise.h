// Kernels over one row: norms, rotations, activations, conversions.

static void rms_norm(const float* x, const float* weight, float eps, int size, float* y) {
  F8 sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
  int i = 0;
  for (; i + 32 <= size; i += 32) {
    for (int j = 0; j < 4; ++j) {
      const F8 v = load(x + i + 8 * j);
      sums[j] = fma(v, v, sums[j]);
    }
  }
  float sum = horizontal_sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  for (; i < size; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / sqrtf(sum / float(size) + eps);
  for (i = 0; i + 8 <= size; i += 8) {
    store(y + i, mul(mul(load(x + i), broadcast(scale)), load(weight + i)));
  }
  for (; i < size; ++i) y[i] = x[i] * scale * weight[i];
}

static void rope(float* x, const float* cos, const float* sin, int head_dim) {
  const int half = head_dim / 2;
  for (int j = 0; j < half; ++j) {
    const float first = x[j];
    const float second = x[j + half];
    x[j] = first * cos[j] - second * sin[j];
    x[j + half] = second * cos[j] + first * sin[j];
  }
}

static void swiglu(const float* gate_up, int pairs, float* y) {
  for (int pair = 0; pair < pairs; ++pair) {
    const float* gate = gate_up + pair * 2 * kPanelRows;
    const float* up = gate + kPanelRows;
    store(y + pair * kPanelRows, mul(silu(load(gate)), load(up)));
    store(y + pair * kPanelRows + 8, mul(silu(load(gate + 8)), load(up + 8)));
  }
}

// size is a multiple of 8.
static void silu_row(float* x, int size) {
  for (int i = 0; i < size; i += 8) store(x + i, silu(load(x + i)));
}

static void quantize_input(const float* x, int cols, int16_t* quantized, float* scales,
                           int32_t* offsets) {
  F8 zeros = broadcast(0);  // NaN where a value is not finite, which a maximum does not tell
  for (int begin = 0, group = 0; begin < cols; begin += kGroupSize, ++group) {
    float padded[kGroupSize] = {};
    const float* values = x + begin;
    if (begin + kGroupSize > cols) {
      memcpy(padded, values, size_t(cols - begin) * sizeof(float));
      values = padded;
    }
    F8 lane_max = broadcast(0);
    F8 zeros_of_group = broadcast(0);
    for (int i = 0; i < kGroupSize; i += 8) {
      const F8 v = load(values + i);
      lane_max = max(lane_max, max(v, sub(broadcast(0), v)));
      zeros_of_group = fma(v, broadcast(0), zeros_of_group);
    }
    const float largest = horizontal_max(lane_max);
    const F8 inverse = broadcast(largest > 0 ? 32767.0f / largest : 0.0f);
    int32_t sum = 0;
    for (int i = 0; i < kGroupSize; i += 8) {
      sum += store_int16(quantized + begin + i, mul(load(values + i), inverse));
    }
    scales[group] = largest / 32767.0f;
    offsets[group] = -8 * sum;
    zeros = add(zeros, zeros_of_group);
  }
  scales[0] += horizontal_sum(zeros);
}

static void from_f16(const uint16_t* x, int size, float* y) {
  int i = 0;
  for (; i + 8 <= size; i += 8) store(y + i, load_f16(x + i));
  for (; i < size; ++i) y[i] = f16_to_float(x[i]);
}

static void to_f16(const float* x, int size, uint16_t* y) {
  int i = 0;
  for (; i + 8 <= size; i += 8) store_f16(y + i, load(x + i));
  for (; i < size; ++i) y[i] = float_to_f16(x[i]);
}
