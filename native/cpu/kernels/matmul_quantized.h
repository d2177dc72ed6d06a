// The same for q8 and q4 weights: an exact integer dot product for each group of 32 columns, scaled
// and accumulated in float32, groups in order.

constexpr int kHalfRows = kPanelRows / 2;
constexpr int kScaleBytes = kPanelRows * 2;
constexpr int kGroupsPerBlock = 16;

// slice<n>(half, quad) is columns 2 * (4 * quad + n) and the next of 8 rows.
struct Q8Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize;
  template <int n>
  static inline S16 slice(const uint8_t* half, int quad) {
    return load_q8(half + 16 * (4 * quad + n));
  }
  static inline I8 centre(I8 sum, int32_t) { return sum; }
};

struct Q4Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize / 2;
  template <int n>
  static inline S16 slice(const uint8_t* half, int quad) {
    return load_q4<n>(half + 32 * quad);
  }
  // A nibble n stands for n - 8.
  static inline I8 centre(I8 sum, int32_t input_sum) { return sub_broadcast(sum, 8 * input_sum); }
};

template <typename Weights, int kTokens, int n>
static inline void add_slice(const uint8_t* half, int quad, const int16_t* x, size_t x_stride,
                             I8 sum[kTokens][2]) {
  const S16 low = Weights::template slice<n>(half, quad);
  const S16 high = Weights::template slice<n>(half + Weights::kHalfBytes, quad);
  for (int t = 0; t < kTokens; ++t) {
    const S16 pair = broadcast_pair(x + t * x_stride + 8 * quad + 2 * n);
    sum[t][0] = dot2(sum[t][0], low, pair);
    sum[t][1] = dot2(sum[t][1], high, pair);
  }
}

// One group of a panel times kTokens tokens, added to acc. The running totals stay in memory, which
// leaves the registers to the integer sums.
template <typename Weights, int kTokens>
static inline void quantized_tile(const uint8_t* block, const Input& x, int first_token, int group,
                                  float* acc, int acc_stride) {
  const size_t first = size_t(first_token) * x.groups + group;
  const int16_t* inputs = x.quantized + first * kGroupSize;
  const size_t x_stride = size_t(x.groups) * kGroupSize;
  const uint8_t* half = block + kScaleBytes;
  I8 sum[kTokens][2];
  for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = zero_int();
  for (int quad = 0; quad < kGroupSize / 8; ++quad) {
    add_slice<Weights, kTokens, 0>(half, quad, inputs, x_stride, sum);
    add_slice<Weights, kTokens, 1>(half, quad, inputs, x_stride, sum);
    add_slice<Weights, kTokens, 2>(half, quad, inputs, x_stride, sum);
    add_slice<Weights, kTokens, 3>(half, quad, inputs, x_stride, sum);
  }
  const auto* scales = reinterpret_cast<const uint16_t*>(block);
  const F8 weight_scales[2] = {load_f16(scales), load_f16(scales + kHalfRows)};
  for (int t = 0; t < kTokens; ++t) {
    const size_t at = first + size_t(t) * x.groups;
    const F8 input_scale = broadcast(x.scales[at]);
    for (int i = 0; i < 2; ++i) {
      float* total = acc + size_t(t) * acc_stride + i * kHalfRows;
      const F8 dot = to_float(Weights::centre(sum[t][i], x.sums[at]));
      store(total, fma(dot, mul(weight_scales[i], input_scale), load(total)));
    }
  }
}

template <typename Weights, int kTokens>
static inline void quantized_tiles(const uint8_t* panel, const Input& x, int first_token, int begin,
                                   int end, float* acc, int acc_stride) {
  constexpr int kGroupBytes = kScaleBytes + 2 * Weights::kHalfBytes;
  for (int group = begin; group < end; ++group) {
    quantized_tile<Weights, kTokens>(panel + size_t(group) * kGroupBytes, x, first_token, group,
                                     acc + size_t(first_token) * acc_stride, acc_stride);
  }
}

template <typename Weights>
static void quantized_matmul(const void* packed, int panels, const Input& x, int tokens,
                             float* acc) {
  const auto* w = static_cast<const uint8_t*>(packed);
  const size_t panel_stride = size_t(x.groups) * (kScaleBytes + 2 * Weights::kHalfBytes);
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  const int block = tokens == 1 ? x.groups : kGroupsPerBlock;
  for (int begin = 0; begin < x.groups; begin += block) {
    const int end = begin + block < x.groups ? begin + block : x.groups;
    for (int p = 0; p < panels; ++p) {
      const uint8_t* panel = w + p * panel_stride;
      float* out = acc + p * kPanelRows;
      int t = 0;
      for (; t + 6 <= tokens; t += 6) {
        quantized_tiles<Weights, 6>(panel, x, t, begin, end, out, stride);
      }
      for (; t + 2 <= tokens; t += 2) {
        quantized_tiles<Weights, 2>(panel, x, t, begin, end, out, stride);
      }
      if (t < tokens) quantized_tiles<Weights, 1>(panel, x, t, begin, end, out, stride);
    }
  }
}
