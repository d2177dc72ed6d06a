// The same for q8 and q4 weights and inputs quantised alike: an exact integer dot product for each
// group of 32 columns, scaled and accumulated in float32, groups in order.

constexpr int kHalfRows = kPanelRows / 2;
constexpr int kScaleBytes = kPanelRows * 2;
constexpr int kGroupsPerBlock = 16;

struct Q8Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize;
  static constexpr int kGroupBytes = kScaleBytes + 2 * kHalfBytes;
  using Sum = I8;
  static inline Sum zero() { return zero_int(); }
  static inline Sum dot(Sum sum, const uint8_t* w, const int8_t* x, int slice) {
    return dot_q8(sum, reinterpret_cast<const int8_t*>(w) + 32 * slice, x + 4 * slice);
  }
  static constexpr int kSlices = 8;
  static inline I8 finish(Sum sum, int32_t) { return sum; }
};

struct Q4Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize / 2;
  static constexpr int kGroupBytes = kScaleBytes + 2 * kHalfBytes;
  using Sum = Q4Sum;
  static inline Sum zero() { return zero_q4(); }
  static inline Sum dot(Sum sum, const uint8_t* w, const int8_t* x, int slice) {
    return dot_q4(sum, w + 32 * slice, x + 4 * slice);
  }
  static constexpr int kSlices = 4;
  // A nibble n stands for n - 8.
  static inline I8 finish(Sum sum, int32_t input_sum) {
    return sub_broadcast(finish_q4(sum), 8 * input_sum);
  }
};

// Groups [begin, end) of 8 rows of a panel times kTokens tokens, added to acc.
template <typename Weights, int kTokens>
static inline void int8_tile(const uint8_t* panel, int half, const Input& x, int first_token,
                             int begin, int end, float* acc, int acc_stride) {
  const int8_t* quantized = x.quantized + size_t(first_token) * x.groups * kGroupSize;
  const float* scales = x.scales + size_t(first_token) * x.groups;
  const int32_t* sums = x.sums + size_t(first_token) * x.groups;
  F8 total[kTokens];
  for (int t = 0; t < kTokens; ++t) total[t] = load(acc + size_t(t) * acc_stride);
  for (int group = begin; group < end; ++group) {
    const uint8_t* block = panel + size_t(group) * Weights::kGroupBytes;
    const F8 weight_scales = load_f16(reinterpret_cast<const uint16_t*>(block) + half * kHalfRows);
    const uint8_t* w = block + kScaleBytes + half * Weights::kHalfBytes;
    typename Weights::Sum sum[kTokens];
    for (int t = 0; t < kTokens; ++t) sum[t] = Weights::zero();
    for (int slice = 0; slice < Weights::kSlices; ++slice) {
      for (int t = 0; t < kTokens; ++t) {
        const size_t at = (size_t(t) * x.groups + group) * kGroupSize;
        sum[t] = Weights::dot(sum[t], w, quantized + at, slice);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = size_t(t) * x.groups + group;
      const F8 dot = to_float(Weights::finish(sum[t], sums[at]));
      total[t] = fma(dot, mul(weight_scales, broadcast(scales[at])), total[t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) store(acc + size_t(t) * acc_stride, total[t]);
}

template <typename Weights>
static void int8_matmul(const void* packed, int panels, const Input& x, int tokens, float* acc) {
  const auto* w = static_cast<const uint8_t*>(packed);
  const size_t panel_stride = size_t(x.groups) * Weights::kGroupBytes;
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  const int block = tokens == 1 ? x.groups : kGroupsPerBlock;
  for (int begin = 0; begin < x.groups; begin += block) {
    const int end = begin + block < x.groups ? begin + block : x.groups;
    for (int p = 0; p < panels; ++p) {
      const uint8_t* panel = w + p * panel_stride;
      for (int half = 0; half < 2; ++half) {
        float* out = acc + p * kPanelRows + half * kHalfRows;
        int t = 0;
        for (; t + 4 <= tokens; t += 4) {
          int8_tile<Weights, 4>(panel, half, x, t, begin, end, out + size_t(t) * stride, stride);
        }
        for (; t < tokens; ++t) {
          int8_tile<Weights, 1>(panel, half, x, t, begin, end, out + size_t(t) * stride, stride);
        }
      }
    }
  }
}
