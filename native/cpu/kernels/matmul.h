// acc[t, r] = sum over columns of w[r, c] * x[t, c] over packed panels: one lane an output, columns
// in order, as kernels.h promises. With one token the tiles run over panels, with more over tokens.

// column<n>(w) is column n of the kColumns that lie together at w.
struct Float32Weights {
  using Element = float;
  static constexpr int kColumns = 1;
  template <int n>
  static inline P column(const float* w) {
    return load16(w);
  }
};

struct Float16Weights {
  using Element = uint16_t;
  static constexpr int kColumns = 1;
  template <int n>
  static inline P column(const uint16_t* w) {
    return load16_f16(w);
  }
};

struct BFloat16Weights {
  using Element = uint16_t;
  static constexpr int kColumns = 2;
  template <int n>
  static inline P column(const uint16_t* w) {
    return load16_bf16<n>(w);
  }
};

// Adds column c + n, where c is a multiple of kColumns.
template <typename Weights, int kPanels, int kTokens, int n>
static inline void add_column(const typename Weights::Element* w, size_t panel_stride,
                              const float* x, int x_stride, int c, P sum[kPanels][kTokens]) {
  P weights[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = Weights::template column<n>(w + p * panel_stride + size_t(c) * kPanelRows);
  }
  for (int t = 0; t < kTokens; ++t) {
    const P input = broadcast16(x[size_t(t) * x_stride + c + n]);
    for (int p = 0; p < kPanels; ++p) sum[p][t] = fma(weights[p], input, sum[p][t]);
  }
}

// The block [begin, end) of columns of kPanels panels times kTokens tokens, added to acc: as a sum
// of its own, or, with kContinue, column by column, as attention does.
template <typename Weights, int kPanels, int kTokens, bool kContinue>
static inline void float_tile(const typename Weights::Element* w, size_t panel_stride,
                              const float* x, int x_stride, int begin, int end, float* acc,
                              int acc_stride) {
  P sum[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      sum[p][t] =
          kContinue ? load16(acc + size_t(t) * acc_stride + p * kPanelRows) : broadcast16(0);
    }
  }
  int c = begin;
  for (; c + Weights::kColumns <= end; c += Weights::kColumns) {
    const char* columns = reinterpret_cast<const char*>(w + size_t(c) * kPanelRows);
    if constexpr (kContinue && kPanels == 1) {
      // So attention reads a cache for one token. Where tiles have one panel prompts come here,
      // too: it costs them nothing beside their multiply-adds.
      prefetch(columns + kPrefetchBytes);
    } else if constexpr (kTokens == 1 && kPanels == 4 && sizeof(*w) == 2) {
      // Together the four panels are as far ahead. Float32 weights are read as fast as memory gives
      // them without, for a line of them takes a single multiply-add.
      for (int p = 0; p < kPanels; ++p) {
        prefetch(columns + p * panel_stride * sizeof(*w) + kPrefetchBytes / kPanels);
      }
    }
    add_column<Weights, kPanels, kTokens, 0>(w, panel_stride, x, x_stride, c, sum);
    if constexpr (Weights::kColumns == 2) {
      add_column<Weights, kPanels, kTokens, 1>(w, panel_stride, x, x_stride, c, sum);
    }
  }
  if (c < end) add_column<Weights, kPanels, kTokens, 0>(w, panel_stride, x, x_stride, c, sum);
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      float* out = acc + size_t(t) * acc_stride + p * kPanelRows;
      store(out, kContinue ? sum[p][t] : add(load16(out), sum[p][t]));
    }
  }
}

template <int n>
struct Count {};

template <int kMost, typename Tile>
static inline void run_tile(int first, int tokens, const Tile& tile) {
  if (tokens == kMost) {
    tile(first, Count<kMost>{});
  } else if constexpr (kMost > 1) {
    run_tile<kMost - 1>(first, tokens, tile);
  }
}

// Shares tokens out to tiles of at most kTokens, as few and as even as can be: a tile of few tokens
// loads its weights for little. Each is tile(first_token, Count<tokens>{}).
template <int kTokens, typename Tile>
static inline void for_each_tile(int tokens, const Tile& tile) {
  const int tiles = (tokens + kTokens - 1) / kTokens;
  for (int i = 0, first = 0; i < tiles; ++i) {
    const int size = (tokens - first) / (tiles - i);
    run_tile<kTokens>(first, size, tile);
    first += size;
  }
}

// The block of columns of kPanels panels times any number of tokens, in tiles of at most kTokens.
template <typename Weights, int kPanels, int kTokens, bool kContinue = false>
static inline void float_tiles(const typename Weights::Element* w, size_t panel_stride,
                               const Input& x, int tokens, int begin, int end, float* acc,
                               int acc_stride) {
  for_each_tile<kTokens>(tokens, [&]<int n>(int first, Count<n>) {
    float_tile<Weights, kPanels, n, kContinue>(w, panel_stride, x.values + size_t(first) * x.cols,
                                               x.cols, begin, end, acc + size_t(first) * acc_stride,
                                               acc_stride);
  });
}

template <typename Weights>
static void float_matmul(const void* packed, int panels, const Input& x, int tokens, float* acc) {
  const auto* w = static_cast<const typename Weights::Element*>(packed);
  const size_t panel_stride = size_t(padded_columns(x.cols)) * kPanelRows;
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  for (int begin = 0; begin < x.cols; begin += kColumnBlock) {
    const int end = begin + kColumnBlock < x.cols ? begin + kColumnBlock : x.cols;
    int p = 0;
    for (; tokens == 1 && p + 4 <= panels; p += 4) {
      float_tiles<Weights, 4, 1>(w + p * panel_stride, panel_stride, x, 1, begin, end,
                                 acc + p * kPanelRows, stride);
    }
    for (; p + kTilePanels <= panels; p += kTilePanels) {
      float_tiles<Weights, kTilePanels, kTileTokens>(w + p * panel_stride, panel_stride, x, tokens,
                                                     begin, end, acc + p * kPanelRows, stride);
    }
    for (; p < panels; ++p) {
      float_tiles<Weights, 1, kTileTokens>(w + p * panel_stride, panel_stride, x, tokens, begin,
                                           end, acc + p * kPanelRows, stride);
    }
  }
}
