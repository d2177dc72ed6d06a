// The same for q8 and q4 weights: an exact integer dot product for each group of 32 columns, scaled
// and accumulated in float32, groups in order.

constexpr int kHalfRows = kPanelRows / 2;
constexpr int kScaleBytes = kPanelRows * 2;
constexpr int kGroupsPerBlock = 16;

struct Q8Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize;
  static constexpr int kSlices = 1;  // of two columns that one load brings
  static constexpr int kLoadBytes = 16;
  static inline void load(const uint8_t* p, S16 slices[]) { slices[0] = load_q8(p); }
  static inline I8 centre(I8 sum, int32_t) { return sum; }
};

struct Q4Weights {
  static constexpr int kHalfBytes = kHalfRows * kGroupSize / 2;
  static constexpr int kSlices = 4;
  static constexpr int kLoadBytes = 32;
  static inline void load(const uint8_t* p, S16 slices[]) { load_q4(p, slices); }
  // A nibble n stands for n - 8.
  static inline I8 centre(I8 sum, int32_t input_sum) { return sub_broadcast(sum, 8 * input_sum); }
};

// Groups [begin, end) of 8 rows of a panel times kTokens tokens, added to acc.
template <typename Weights, int kTokens>
static inline void quantized_tile(const uint8_t* panel, int half, const Input& x, int first_token,
                                  int begin, int end, float* acc, int acc_stride) {
  constexpr int kGroupBytes = kScaleBytes + 2 * Weights::kHalfBytes;
  constexpr int kLoads = Weights::kHalfBytes / Weights::kLoadBytes;
  const size_t first = size_t(first_token) * x.groups;
  F8 total[kTokens];
  for (int t = 0; t < kTokens; ++t) total[t] = load(acc + size_t(t) * acc_stride);
  for (int group = begin; group < end; ++group) {
    const uint8_t* block = panel + size_t(group) * kGroupBytes;
    const F8 weight_scales = load_f16(reinterpret_cast<const uint16_t*>(block) + half * kHalfRows);
    const uint8_t* w = block + kScaleBytes + half * Weights::kHalfBytes;
    const int16_t* inputs = x.quantized + (first + group) * kGroupSize;
    const size_t input_stride = size_t(x.groups) * kGroupSize;
    I8 sum[kTokens];
    for (int t = 0; t < kTokens; ++t) sum[t] = zero_int();
    for (int i = 0; i < kLoads; ++i) {
      S16 slices[Weights::kSlices];
      Weights::load(w + i * Weights::kLoadBytes, slices);
      for (int slice = 0; slice < Weights::kSlices; ++slice) {
        for (int t = 0; t < kTokens; ++t) {
          const int16_t* pair = inputs + t * input_stride + 2 * (i * Weights::kSlices + slice);
          sum[t] = dot2(sum[t], slices[slice], pair);
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = first + size_t(t) * x.groups + group;
      const F8 dot = to_float(Weights::centre(sum[t], x.sums[at]));
      total[t] = fma(dot, mul(weight_scales, broadcast(x.scales[at])), total[t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) store(acc + size_t(t) * acc_stride, total[t]);
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
      for (int half = 0; half < 2; ++half) {
        float* out = acc + p * kPanelRows + half * kHalfRows;
        int t = 0;
        for (; t + 6 <= tokens; t += 6) {
          quantized_tile<Weights, 6>(panel, half, x, t, begin, end, out + size_t(t) * stride,
                                     stride);
        }
        for (; t + 2 <= tokens; t += 2) {
          quantized_tile<Weights, 2>(panel, half, x, t, begin, end, out + size_t(t) * stride,
                                     stride);
        }
        if (t < tokens) {
          quantized_tile<Weights, 1>(panel, half, x, t, begin, end, out + size_t(t) * stride,
                                     stride);
        }
      }
    }
  }
}
