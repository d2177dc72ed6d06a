// The same for q8 and q4 weights: an exact integer dot product for each group of 32 columns, scaled
// and accumulated in float32, groups in order.

constexpr int kScaleBytes = kPanelRows * 2;
constexpr int kGroupsPerBlock = 16;

// pair<n>(w, quad) is columns 2 * (4 * quad + n) and the next of a group.
struct Q8Weights {
  static constexpr int kGroupBytes = kScaleBytes + kPanelRows * kGroupSize;
  template <int n>
  static inline Pairs pair(const uint8_t* w, int quad) {
    return load_q8(w + 32 * (4 * quad + n));
  }
  static inline IntP centre(IntP sum, int32_t) { return sum; }
};

struct Q4Weights {
  static constexpr int kGroupBytes = kScaleBytes + kPanelRows * kGroupSize / 2;
  template <int n>
  static inline Pairs pair(const uint8_t* w, int quad) {
    return load_q4<n>(w + 64 * quad);
  }
  // A nibble n stands for n - 8.
  static inline IntP centre(IntP sum, int32_t input_sum) {
    return sub_broadcast(sum, 8 * input_sum);
  }
};

template <typename Weights, int kPanels, int kTokens, int n>
static inline void add_pair(const uint8_t* w, size_t panel_stride, int quad, const int16_t* x,
                            size_t x_stride, IntP sum[kPanels][kTokens]) {
  Pairs weights[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = Weights::template pair<n>(w + p * panel_stride, quad);
  }
  for (int t = 0; t < kTokens; ++t) {
    const Pairs inputs = broadcast_pair(x + t * x_stride + 8 * quad + 2 * n);
    for (int p = 0; p < kPanels; ++p) sum[p][t] = dot2(sum[p][t], weights[p], inputs);
  }
}

// One group of kPanels panels times kTokens tokens, added to acc. The running totals stay in
// memory, which leaves the registers to the integer sums.
template <typename Weights, int kPanels, int kTokens>
static inline void quantized_tile(const uint8_t* block, size_t panel_stride, const Input& x,
                                  int first_token, int group, float* acc, int acc_stride) {
  const size_t first = size_t(first_token) * x.groups + group;
  const int16_t* inputs = x.quantized + first * kGroupSize;
  const size_t x_stride = size_t(x.groups) * kGroupSize;
  const uint8_t* w = block + kScaleBytes;
  IntP sum[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) sum[p][t] = zero_int();
  }
  for (int quad = 0; quad < kGroupSize / 8; ++quad) {
    add_pair<Weights, kPanels, kTokens, 0>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 1>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 2>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 3>(w, panel_stride, quad, inputs, x_stride, sum);
  }
  for (int p = 0; p < kPanels; ++p) {
    const P scales = load16_f16(reinterpret_cast<const uint16_t*>(block + p * panel_stride));
    for (int t = 0; t < kTokens; ++t) {
      const size_t at = first + size_t(t) * x.groups;
      float* total = acc + size_t(t) * acc_stride + p * kPanelRows;
      const P dot = to_float(Weights::centre(sum[p][t], x.sums[at]));
      store(total, fma(dot, mul(scales, broadcast16(x.scales[at])), load16(total)));
    }
  }
}

// Groups [begin, end) of kPanels panels times any number of tokens, in tiles of kTokens and
// smaller.
template <typename Weights, int kPanels, int kTokens>
static inline void quantized_tiles(const uint8_t* w, size_t panel_stride, const Input& x,
                                   int first_token, int tokens, int begin, int end, float* acc,
                                   int acc_stride) {
  int t = first_token;
  for (; t + kTokens <= tokens; t += kTokens) {
    for (int group = begin; group < end; ++group) {
      quantized_tile<Weights, kPanels, kTokens>(w + size_t(group) * Weights::kGroupBytes,
                                                panel_stride, x, t, group,
                                                acc + size_t(t) * acc_stride, acc_stride);
    }
  }
  if constexpr (kTokens > 1) {
    quantized_tiles<Weights, kPanels, kTokens / 2>(w, panel_stride, x, t, tokens, begin, end, acc,
                                                   acc_stride);
  }
}

template <typename Weights>
static void quantized_matmul(const void* packed, int panels, const Input& x, int tokens,
                             float* acc) {
  const auto* w = static_cast<const uint8_t*>(packed);
  const size_t panel_stride = size_t(x.groups) * Weights::kGroupBytes;
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  const int block = tokens == 1 ? x.groups : kGroupsPerBlock;
  for (int begin = 0; begin < x.groups; begin += block) {
    const int end = begin + block < x.groups ? begin + block : x.groups;
    int p = 0;
    for (; tokens > 1 && p + kTilePanels <= panels; p += kTilePanels) {
      quantized_tiles<Weights, kTilePanels, kTileTokens>(w + p * panel_stride, panel_stride, x, 0,
                                                         tokens, begin, end, acc + p * kPanelRows,
                                                         stride);
    }
    for (; p < panels; ++p) {
      quantized_tiles<Weights, 1, kTileTokens>(w + p * panel_stride, panel_stride, x, 0, tokens,
                                               begin, end, acc + p * kPanelRows, stride);
    }
  }
}
