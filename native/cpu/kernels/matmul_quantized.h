// The same for q8 and q4 weights: an exact integer dot product for each group of 32 columns, scaled
// and accumulated in float32, groups in order.

constexpr int kScaleBytes = kPanelRows * 2;
constexpr int kGroupsPerBlock = 16;

// One token takes kRowPanels panels at a time. pair<n>(w, quad) is columns 2 * (4 * quad + n) and
// the next of a group.
struct Q8Weights {
  static constexpr int kRowPanels = kQ8RowPanels;
  static constexpr int kGroupBytes = kScaleBytes + kPanelRows * kGroupSize;
  template <int n>
  static inline Pairs pair(const uint8_t* w, int quad) {
    return load_q8(w + 32 * (4 * quad + n));
  }
  static inline IntP start(int32_t) { return broadcast_int(0); }
};

struct Q4Weights {
  static constexpr int kRowPanels = 1;
  static constexpr int kGroupBytes = kScaleBytes + kPanelRows * kGroupSize / 2;
  template <int n>
  static inline Pairs pair(const uint8_t* w, int quad) {
    return load_q4<n>(w + 64 * quad);
  }
  // A nibble n stands for n - 8.
  static inline IntP start(int32_t offset) { return broadcast_int(offset); }
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
  const int32_t* offsets = x.offsets + first;
  const float* input_scales = x.scales + first;
  const size_t groups = size_t(x.groups);
  IntP sum[kPanels][kTokens];
  for (int t = 0; t < kTokens; ++t) {
    for (int p = 0; p < kPanels; ++p) sum[p][t] = Weights::start(offsets[t * groups]);
  }
  for (int quad = 0; quad < kGroupSize / 8; ++quad) {
    add_pair<Weights, kPanels, kTokens, 0>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 1>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 2>(w, panel_stride, quad, inputs, x_stride, sum);
    add_pair<Weights, kPanels, kTokens, 3>(w, panel_stride, quad, inputs, x_stride, sum);
  }
  P scales[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    scales[p] = load16_f16(reinterpret_cast<const uint16_t*>(block + p * panel_stride));
  }
  for (int t = 0; t < kTokens; ++t) {
    const P input_scale = broadcast16(input_scales[t * groups]);
    for (int p = 0; p < kPanels; ++p) {
      float* total = acc + size_t(t) * acc_stride + p * kPanelRows;
      store(total, fma(to_float(sum[p][t]), mul(scales[p], input_scale), load16(total)));
    }
  }
}

// Groups [begin, end) of kPanels panels times any number of tokens, in tiles of at most kTokens.
template <typename Weights, int kPanels, int kTokens>
static inline void quantized_tiles(const uint8_t* w, size_t panel_stride, const Input& x,
                                   int tokens, int begin, int end, float* acc, int acc_stride) {
  for_each_tile<kTokens>(tokens, [&]<int n>(int first, Count<n>) {
    for (int group = begin; group < end; ++group) {
      quantized_tile<Weights, kPanels, n>(w + size_t(group) * Weights::kGroupBytes, panel_stride, x,
                                          first, group, acc + size_t(first) * acc_stride,
                                          acc_stride);
    }
  });
}

// Adds pair n of a quad of one panel times one token.
template <typename Weights, int n>
static inline IntP add_pair(const uint8_t* w, int quad, const int16_t* x, IntP sum) {
  return dot2(sum, Weights::template pair<n>(w, quad), broadcast_pair(x + 8 * quad + 2 * n));
}

// kPanels panels times one token, a group of each in turn. A group has four sums, none of which
// waits for another: integers add up exactly, in whatever order.
template <typename Weights, int kPanels>
static inline void quantized_rows(const uint8_t* w, size_t panel_stride, const Input& x,
                                  float* acc) {
  // Of several panels at once the processor itself reads some ahead.
  constexpr int kAhead = kPanels == 1 ? kPrefetchBytes : 512;
  P total[kPanels];
  for (int p = 0; p < kPanels; ++p) total[p] = broadcast16(0);
  for (int group = 0; group < x.groups; ++group, w += Weights::kGroupBytes) {
    const int16_t* inputs = x.quantized + size_t(group) * kGroupSize;
    for (int p = 0; p < kPanels; ++p) {
      const uint8_t* block = w + p * panel_stride;
      for (int i = 0; i < Weights::kGroupBytes; i += 64) prefetch(block + kAhead + i);
      const IntP zero = broadcast_int(0);
      IntP sum[4] = {Weights::start(x.offsets[group]), zero, zero, zero};
      for (int quad = 0; quad < kGroupSize / 8; ++quad) {
        sum[0] = add_pair<Weights, 0>(block + kScaleBytes, quad, inputs, sum[0]);
        sum[1] = add_pair<Weights, 1>(block + kScaleBytes, quad, inputs, sum[1]);
        sum[2] = add_pair<Weights, 2>(block + kScaleBytes, quad, inputs, sum[2]);
        sum[3] = add_pair<Weights, 3>(block + kScaleBytes, quad, inputs, sum[3]);
      }
      const IntP all = add(add(sum[0], sum[1]), add(sum[2], sum[3]));
      const P scales = load16_f16(reinterpret_cast<const uint16_t*>(block));
      total[p] = fma(to_float(all), mul(scales, broadcast16(x.scales[group])), total[p]);
    }
  }
  for (int p = 0; p < kPanels; ++p) store(acc + p * kPanelRows, total[p]);
}

template <typename Weights>
static void quantized_matmul(const void* packed, int panels, const Input& x, int tokens,
                             float* acc) {
  const auto* w = static_cast<const uint8_t*>(packed);
  const size_t panel_stride = size_t(x.groups) * Weights::kGroupBytes;
  const int stride = panels * kPanelRows;
  if (tokens == 1) {
    int p = 0;
    for (; p + Weights::kRowPanels <= panels; p += Weights::kRowPanels) {
      quantized_rows<Weights, Weights::kRowPanels>(w + p * panel_stride, panel_stride, x,
                                                   acc + p * kPanelRows);
    }
    for (; p < panels; ++p) {
      quantized_rows<Weights, 1>(w + p * panel_stride, panel_stride, x, acc + p * kPanelRows);
    }
    return;
  }
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  for (int begin = 0; begin < x.groups; begin += kGroupsPerBlock) {
    const int end = begin + kGroupsPerBlock < x.groups ? begin + kGroupsPerBlock : x.groups;
    int p = 0;
    for (; p + kTilePanels <= panels; p += kTilePanels) {
      quantized_tiles<Weights, kTilePanels, kQuantizedTileTokens>(
          w + p * panel_stride, panel_stride, x, tokens, begin, end, acc + p * kPanelRows, stride);
    }
    for (; p < panels; ++p) {
      quantized_tiles<Weights, 1, kQuantizedTileTokens>(
          w + p * panel_stride, panel_stride, x, tokens, begin, end, acc + p * kPanelRows, stride);
    }
  }
}
