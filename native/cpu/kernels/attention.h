// Attention over one partition: the scores are a matmul with the keys, a softmax follows, and the
// weighted sums are a matmul with the values (kernels.h says how the cache stores them).

// Sums of four rows fill a tile: most often the query heads of one token.
constexpr int kAttentionRows = 4;

// The product of some panels, added to acc, column by column. For one token they are read one after
// the other, which is one run through the memory.
template <typename Cache>
static inline void multiply_panels(const typename Cache::Element* w, int panels,
                                   size_t panel_stride, const Input& x, int rows, int begin,
                                   int end, float* acc, int acc_stride) {
  int p = 0;
  for (; rows > kAttentionRows && p + kTilePanels <= panels; p += kTilePanels) {
    float_tiles<Cache, kTilePanels, kAttentionRows, true>(
        w + p * panel_stride, panel_stride, x, rows, begin, end, acc + p * kPanelRows, acc_stride);
  }
  for (; p < panels; ++p) {
    float_tiles<Cache, 1, kAttentionRows, true>(w + p * panel_stride, panel_stride, x, rows, begin,
                                                end, acc + p * kPanelRows, acc_stride);
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
  Input weights;
  weights.values = args.scores;
  weights.cols = kPartition;
  multiply_panels<Cache>(v, width / kPanelRows, kPartition * kPanelRows, weights,
                         args.tokens * args.heads, 0, args.positions, values, width);
  for (int t = 1; t < args.tokens; ++t) {
    const int end = args.positions + t < kPartition ? args.positions + t : kPartition;
    weights.values += size_t(args.heads) * kPartition;
    values += size_t(args.heads) * width;
    multiply_panels<Cache>(v, width / kPanelRows, kPartition * kPanelRows, weights, args.heads,
                           args.positions, end, values, width);
  }
}

template <typename Cache>
static void attention(const AttentionArgs& args, const AttentionSums& sums) {
  const auto* k = static_cast<const typename Cache::Element*>(args.k);
  const int rows = args.tokens * args.heads;
  const int last = args.positions + args.tokens - 1;
  const int positions = last < kPartition ? last : kPartition;
  memset(args.scores, 0, size_t(rows) * kPartition * sizeof(float));
  Input q;
  q.values = args.q;
  q.cols = args.head_dim;
  multiply_panels<Cache>(k, (positions + kPanelRows - 1) / kPanelRows,
                         size_t(args.head_dim) * kPanelRows, q, rows, 0, args.head_dim, args.scores,
                         kPartition);
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
