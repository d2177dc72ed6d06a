// Attention over one partition: the scores are a matmul with the keys, a softmax follows, and the
// weighted sums are a matmul with the values (kernels.h says how the cache stores them).

// Sums of four rows fill a tile: most often the query heads of one token.
constexpr int kAttentionRows = 4;

// Columns of kPanels panels times rows x, of which the columns to multiply are the first.
template <typename Cache, int kPanels>
static inline void multiply_rows(const typename Cache::Element* w, size_t panel_stride,
                                 const float* x, int x_stride, int rows, int columns, float* acc,
                                 int acc_stride) {
  for_each_tile<kAttentionRows>(rows, [&]<int n>(int first, Count<n>) {
    float_tile<Cache, kPanels, n, true>(w, panel_stride, x + size_t(first) * x_stride, x_stride, 1,
                                        columns, acc + size_t(first) * acc_stride, acc_stride);
  });
}

// The product of some panels, added to acc, column by column. For one token they are read one after
// the other, which is one run through the memory.
template <typename Cache>
static inline void multiply_panels(const typename Cache::Element* w, int panels,
                                   size_t panel_stride, const float* x, int x_stride, int rows,
                                   int columns, float* acc, int acc_stride) {
  int p = 0;
  for (; rows > kAttentionRows && p + kTilePanels <= panels; p += kTilePanels) {
    multiply_rows<Cache, kTilePanels>(w + p * panel_stride, panel_stride, x, x_stride, rows,
                                      columns, acc + p * kPanelRows, acc_stride);
  }
  for (; p < panels; ++p) {
    multiply_rows<Cache, 1>(w + p * panel_stride, panel_stride, x, x_stride, rows, columns,
                            acc + p * kPanelRows, acc_stride);
  }
}

// Turns scores into e^(score - max), zero from `positions` to the next multiple of 8. Returns their
// sum.
static inline float exponentiate(float* scores, int positions, float* max_score) {
  const int size = (positions + 7) / 8 * 8;
  for (int i = positions; i < size; ++i) scores[i] = -INFINITY;
  F8 lane_max = load(scores);
  for (int i = 8; i < size; i += 8) lane_max = max(lane_max, load(scores + i));
  *max_score = horizontal_max(lane_max);
  const F8 largest = broadcast(*max_score);
  for (int i = 0; i < size; i += 8) store(scores + i, exp(sub(load(scores + i), largest)));
  for (int i = positions; i < size; ++i) scores[i] = 0;
  F8 sum = broadcast(0);
  for (int i = 0; i < size; i += 8) sum = add(sum, load(scores + i));
  return horizontal_sum(sum);
}

// Adds the weighted sums of the values. The tokens share all columns but the last few, which each
// has for itself.
template <typename Cache>
static inline void weigh_values(const AttentionArgs& args, float* values) {
  const auto* v = static_cast<const typename Cache::Element*>(args.v);
  const int width = padded_head_dim(args.head_dim);
  const int panels = width / kPanelRows;
  const size_t panel_stride = kPartition * kPanelRows;
  multiply_panels<Cache>(v, panels, panel_stride, args.scores, kPartition, args.tokens * args.heads,
                         args.positions, values, width);
  for (int t = 1; t < args.tokens; ++t) {
    const int end = args.positions + t < kPartition ? args.positions + t : kPartition;
    const size_t row = size_t(t) * args.heads;
    multiply_panels<Cache>(v + size_t(args.positions) * kPanelRows, panels, panel_stride,
                           args.scores + row * kPartition + args.positions, kPartition, args.heads,
                           end - args.positions, values + row * width, width);
  }
}

template <typename Cache>
static void attention(const AttentionArgs& args, const AttentionSums& sums) {
  const auto* k = static_cast<const typename Cache::Element*>(args.k);
  const int rows = args.tokens * args.heads;
  const int last = args.positions + args.tokens - 1;
  const int positions = last < kPartition ? last : kPartition;
  memset(args.scores, 0, size_t(rows) * kPartition * sizeof(float));
  multiply_panels<Cache>(k, (positions + kPanelRows - 1) / kPanelRows,
                         size_t(args.head_dim) * kPanelRows, args.q, args.head_dim, rows,
                         args.head_dim, args.scores, kPartition);
  for (int row = 0; row < rows; ++row) {
    const int limit = args.positions + row / args.heads;
    sums.total[row] = exponentiate(args.scores + size_t(row) * kPartition,
                                   limit < kPartition ? limit : kPartition, sums.max + row);
  }
  memset(sums.values, 0, size_t(rows) * padded_head_dim(args.head_dim) * sizeof(float));
  weigh_values<Cache>(args, sums.values);
}

static void merge_attention(const AttentionSums& later, int rows, int head_dim,
                            const AttentionSums& sums) {
  const int width = padded_head_dim(head_dim);
  for (int row = 0; row < rows; ++row) {
    const F8 max_before = broadcast(sums.max[row]);
    const F8 max_later = broadcast(later.max[row]);
    const F8 largest = max(max_before, max_later);
    const F8 before = exp(sub(max_before, largest));
    const F8 after = exp(sub(max_later, largest));
    float scales[8], later_scales[8];
    store(scales, before);
    store(later_scales, after);
    sums.total[row] = sums.total[row] * scales[0] + later.total[row] * later_scales[0];
    sums.max[row] = horizontal_max(largest);
    for (int j = 0; j < width; j += 8) {
      float* value = sums.values + size_t(row) * width + j;
      const F8 added = mul(load(later.values + size_t(row) * width + j), after);
      store(value, fma(load(value), before, added));
    }
  }
}
