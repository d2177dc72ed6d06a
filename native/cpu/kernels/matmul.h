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

// Adds column n of those at w. x is the input of the first token for it, the others' follow
// token_stride apart.
template <typename Weights, int kPanels, int kTokens, int n>
static inline void add_column(const typename Weights::Element* w, size_t panel_stride,
                              const float* x, int token_stride, P sum[kPanels][kTokens]) {
  P weights[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = Weights::template column<n>(w + p * panel_stride);
  }
  for (int t = 0; t < kTokens; ++t) {
    const P input = broadcast16(x[size_t(t) * token_stride]);
    for (int p = 0; p < kPanels; ++p) sum[p][t] = fma(weights[p], input, sum[p][t]);
  }
}

// Columns of kPanels panels times kTokens tokens, added to acc: as a sum of its own, or, with
// kContinue, column by column, as attention does. The input of token t for column c is
// x[t * token_stride + c * column_stride].
template <typename Weights, int kPanels, int kTokens, bool kContinue>
static inline void float_tile(const typename Weights::Element* w, size_t panel_stride,
                              const float* x, int token_stride, int column_stride, int columns,
                              float* acc, int acc_stride) {
  P sum[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      sum[p][t] =
          kContinue ? load16(acc + size_t(t) * acc_stride + p * kPanelRows) : broadcast16(0);
    }
  }
  int c = 0;
  for (; c + Weights::kColumns <= columns; c += Weights::kColumns) {
    const auto* at = w + size_t(c) * kPanelRows;
    const auto* bytes = reinterpret_cast<const char*>(at);
    const float* inputs = x + size_t(c) * column_stride;
    if constexpr (kContinue && kPanels == 1) {
      // So attention reads a cache for one token. Where tiles have one panel prompts come here,
      // too: it costs them nothing beside their multiply-adds.
      prefetch(bytes + kPrefetchBytes);
    } else if constexpr (kTokens == 1 && kPanels == 4 && sizeof(*w) == 2) {
      // Together the four panels are as far ahead. Float32 weights are read as fast as memory gives
      // them without, for a line of them takes a single multiply-add.
      for (int p = 0; p < kPanels; ++p) {
        prefetch(bytes + p * panel_stride * sizeof(*w) + kPrefetchBytes / kPanels);
      }
    }
    add_column<Weights, kPanels, kTokens, 0>(at, panel_stride, inputs, token_stride, sum);
    if constexpr (Weights::kColumns == 2) {
      add_column<Weights, kPanels, kTokens, 1>(at, panel_stride, inputs + column_stride,
                                               token_stride, sum);
    }
  }
  if (c < columns) {
    add_column<Weights, kPanels, kTokens, 0>(w + size_t(c) * kPanelRows, panel_stride,
                                             x + size_t(c) * column_stride, token_stride, sum);
  }
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

// A block of `columns` columns of kPanels panels times its packed inputs.
template <typename Weights, int kPanels>
static inline void float_tiles(const typename Weights::Element* w, size_t panel_stride,
                               const float* packed, int tokens, int columns, float* acc,
                               int acc_stride) {
  for_each_tile<kTileTokens>(tokens, [&]<int n>(int first, Count<n>) {
    float_tile<Weights, kPanels, n, false>(w, panel_stride, packed + size_t(first) * columns, 1, n,
                                           columns, acc + size_t(first) * acc_stride, acc_stride);
  });
}

static inline int columns_of_block(int cols, int begin) {
  return begin + kColumnBlock < cols ? kColumnBlock : cols - begin;
}

template <typename Weights>
static void float_matmul(const void* packed, int panels, const Input& x, int tokens, float* acc) {
  const size_t panel_stride = size_t(padded_columns(x.cols)) * kPanelRows;
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  for (int begin = 0; begin < x.cols; begin += kColumnBlock) {
    const int columns = columns_of_block(x.cols, begin);
    const float* inputs = x.values + size_t(begin) * tokens;
    const auto* w = static_cast<const typename Weights::Element*>(packed) + begin * kPanelRows;
    int p = 0;
    for (; tokens == 1 && p + 4 <= panels; p += 4) {
      float_tile<Weights, 4, 1, false>(w + p * panel_stride, panel_stride, inputs, 1, 1, columns,
                                       acc + p * kPanelRows, stride);
    }
    for (; p + kTilePanels <= panels; p += kTilePanels) {
      float_tiles<Weights, kTilePanels>(w + p * panel_stride, panel_stride, inputs, tokens, columns,
                                        acc + p * kPanelRows, stride);
    }
    for (; p < panels; ++p) {
      float_tiles<Weights, 1>(w + p * panel_stride, panel_stride, inputs, tokens, columns,
                              acc + p * kPanelRows, stride);
    }
  }
}

static void pack_input(const float* x, int cols, int tokens, int block, float* packed) {
  const int begin = block * kColumnBlock;
  const int columns = columns_of_block(cols, begin);
  for_each_tile<kTileTokens>(tokens, [&]<int n>(int first, Count<n>) {
    const float* from = x + size_t(first) * cols + begin;
    float* to = packed + size_t(begin) * tokens + size_t(first) * columns;
    for (int c = 0; c < columns; ++c, to += n) {
      for (int t = 0; t < n; ++t) to[t] = from[size_t(t) * cols + c];
    }
  });
}
