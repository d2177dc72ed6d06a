// Kernels over one row: norms, rotations, activations, conversions.

static inline float horizontal_sum(F8 x) {
  float lane[8];
  store(lane, x);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static inline float horizontal_max(F8 x) {
  float lane[8];
  store(lane, x);
  float result = lane[0];
  for (int i = 1; i < 8; ++i) result = lane[i] > result ? lane[i] : result;
  return result;
}

// e^x to within 2 units in the last place for x in [-87, 88], clamped to it outside.
static inline F8 exp(F8 x) {
  x = min(max(x, broadcast(-87.0f)), broadcast(88.0f));
  // x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, the first exact in few bits.
  const F8 magic = broadcast(kRoundingMagic);
  const F8 n_magic = fma(x, broadcast(1.44269504f), magic);
  const F8 n = sub(n_magic, magic);
  F8 r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  // The Taylor series to r^7: the first term left out is below 2^-27 of the whole.
  F8 sum = broadcast(1.0f / 5040);
  sum = fma(sum, r, broadcast(1.0f / 720));
  sum = fma(sum, r, broadcast(1.0f / 120));
  sum = fma(sum, r, broadcast(1.0f / 24));
  sum = fma(sum, r, broadcast(1.0f / 6));
  sum = fma(sum, r, broadcast(0.5f));
  sum = fma(sum, r, broadcast(1.0f));
  sum = fma(sum, r, broadcast(1.0f));
  return mul(sum, pow2_from_magic(n_magic));
}

// x / (1 + e^-x)
static inline F8 silu(F8 x) {
  const F8 one = broadcast(1.0f);
  return div(x, add(one, exp(sub(broadcast(0.0f), x))));
}

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
                           int32_t* sums) {
  for (int begin = 0, group = 0; begin < cols; begin += kGroupSize, ++group) {
    float padded[kGroupSize] = {};
    const float* values = x + begin;
    if (begin + kGroupSize > cols) {
      memcpy(padded, values, size_t(cols - begin) * sizeof(float));
      values = padded;
    }
    F8 lane_max = broadcast(0);
    for (int i = 0; i < kGroupSize; i += 8) {
      const F8 v = load(values + i);
      lane_max = max(lane_max, max(v, sub(broadcast(0), v)));
    }
    const float largest = horizontal_max(lane_max);
    const F8 inverse = broadcast(largest > 0 ? 32767.0f / largest : 0.0f);
    int32_t sum = 0;
    for (int i = 0; i < kGroupSize; i += 8) {
      sum += store_int16(quantized + begin + i, mul(load(values + i), inverse));
    }
    scales[group] = largest / 32767.0f;
    sums[group] = sum;
  }
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
