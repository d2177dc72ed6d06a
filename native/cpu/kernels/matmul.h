// acc[t, r] = sum over columns of w[r, c] * x[t, c] over packed panels: one lane an output, columns
// in order, as kernels.h promises. With one token the tiles run over panels, with more over tokens.

// Loads the 16 weights of one column of a panel.
struct Float32Weights {
  using Element = float;
  static inline void load_column(const float* w, F8& low, F8& high) {
    low = load(w);
    high = load(w + 8);
  }
};

struct Float16Weights {
  using Element = uint16_t;
  static inline void load_column(const uint16_t* w, F8& low, F8& high) {
    low = load_f16(w);
    high = load_f16(w + 8);
  }
};

struct BFloat16Weights {
  using Element = uint16_t;
  static inline void load_column(const uint16_t* w, F8& low, F8& high) {
    load_bf16_pairs(w, low, high);
  }
};

// The block [begin, end) of columns of kPanels panels times kTokens tokens, added to acc.
template <typename Weights, int kPanels, int kTokens>
static inline void float_tile(const typename Weights::Element* w, size_t panel_stride,
                              const float* x, int cols, int begin, int end, float* acc,
                              int acc_stride) {
  F8 sum[kPanels][kTokens][2];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) sum[p][t][0] = sum[p][t][1] = broadcast(0);
  }
  for (int c = begin; c < end; ++c) {
    for (int p = 0; p < kPanels; ++p) {
      F8 low, high;
      Weights::load_column(w + p * panel_stride + size_t(c) * kPanelRows, low, high);
      for (int t = 0; t < kTokens; ++t) {
        const F8 input = broadcast(x[size_t(t) * cols + c]);
        sum[p][t][0] = fma(low, input, sum[p][t][0]);
        sum[p][t][1] = fma(high, input, sum[p][t][1]);
      }
    }
  }
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      float* out = acc + size_t(t) * acc_stride + p * kPanelRows;
      store(out, add(load(out), sum[p][t][0]));
      store(out + 8, add(load(out + 8), sum[p][t][1]));
    }
  }
}

template <typename Weights>
static void float_matmul(const void* packed, int panels, const Input& x, int tokens, float* acc) {
  const auto* w = static_cast<const typename Weights::Element*>(packed);
  const size_t panel_stride = size_t(x.cols) * kPanelRows;
  const int stride = panels * kPanelRows;
  memset(acc, 0, size_t(tokens) * stride * sizeof(float));
  for (int begin = 0; begin < x.cols; begin += kColumnBlock) {
    const int end = begin + kColumnBlock < x.cols ? begin + kColumnBlock : x.cols;
    int p = 0;
    for (; tokens == 1 && p + 4 <= panels; p += 4) {
      float_tile<Weights, 4, 1>(w + p * panel_stride, panel_stride, x.values, x.cols, begin, end,
                                acc + p * kPanelRows, stride);
    }
    for (; p < panels; ++p) {
      const auto* panel = w + p * panel_stride;
      int t = 0;
      for (; t + 6 <= tokens; t += 6) {
        float_tile<Weights, 1, 6>(panel, 0, x.values + size_t(t) * x.cols, x.cols, begin, end,
                                  acc + size_t(t) * stride + p * kPanelRows, stride);
      }
      const float* rest = x.values + size_t(t) * x.cols;
      float* out = acc + size_t(t) * stride + p * kPanelRows;
      switch (tokens - t) {
        case 5:
          float_tile<Weights, 1, 5>(panel, 0, rest, x.cols, begin, end, out, stride);
          break;
        case 4:
          float_tile<Weights, 1, 4>(panel, 0, rest, x.cols, begin, end, out, stride);
          break;
        case 3:
          float_tile<Weights, 1, 3>(panel, 0, rest, x.cols, begin, end, out, stride);
          break;
        case 2:
          float_tile<Weights, 1, 2>(panel, 0, rest, x.cols, begin, end, out, stride);
          break;
        case 1:
          float_tile<Weights, 1, 1>(panel, 0, rest, x.cols, begin, end, out, stride);
          break;
      }
    }
  }
}
