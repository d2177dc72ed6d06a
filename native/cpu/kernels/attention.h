// Attention of one token's query heads over one KV head: scores a slab of 8 keys at a time, one
// lane a key, then a softmax, then the weighted sum of the values, positions in order.

template <int kSlabs>
static inline void score_slabs(const float* q, const float* k, int k_slab_stride, int head_dim,
                               float* scores) {
  F8 sum[kSlabs];
  for (int s = 0; s < kSlabs; ++s) sum[s] = broadcast(0);
  for (int j = 0; j < head_dim; ++j) {
    const F8 query = broadcast(q[j]);
    for (int s = 0; s < kSlabs; ++s) {
      sum[s] = fma(query, load(k + size_t(s) * k_slab_stride + j * kSlab), sum[s]);
    }
  }
  for (int s = 0; s < kSlabs; ++s) store(scores + s * kSlab, sum[s]);
}

// Turns scores [slabs * 8] into e^(score - max), zero from `positions` on, and returns their sum.
static inline float exponentiate(float* scores, int slabs, int positions) {
  for (int i = positions; i < slabs * kSlab; ++i) scores[i] = -INFINITY;
  F8 lane_max = load(scores);
  for (int s = 1; s < slabs; ++s) lane_max = max(lane_max, load(scores + s * kSlab));
  const F8 largest = broadcast(horizontal_max(lane_max));
  F8 sum = broadcast(0);
  for (int s = 0; s < slabs; ++s) {
    F8 value = exp(sub(load(scores + s * kSlab), largest));
    store(scores + s * kSlab, value);
    if (s == slabs - 1) {
      for (int i = positions; i < slabs * kSlab; ++i) scores[i] = 0;
      value = load(scores + s * kSlab);
    }
    sum = add(sum, value);
  }
  return horizontal_sum(sum);
}

// a[0..8*kVectors) = sum over positions of weight[p] * v[p] / total
template <int kVectors>
static inline void weigh_values(const float* weights, const float* v, int v_position_stride,
                                int positions, float total, float* a, int size) {
  F8 sum[kVectors];
  for (int i = 0; i < kVectors; ++i) sum[i] = broadcast(0);
  for (int p = 0; p < positions; ++p) {
    const F8 weight = broadcast(weights[p]);
    const float* value = v + size_t(p) * v_position_stride;
    for (int i = 0; i < kVectors; ++i) sum[i] = fma(weight, load(value + 8 * i), sum[i]);
  }
  const F8 scale = broadcast(1.0f / total);
  float padded[8 * kVectors];
  for (int i = 0; i < kVectors; ++i) store(padded + 8 * i, mul(sum[i], scale));
  memcpy(a, padded, size_t(size) * sizeof(float));
}

static void attention(const AttentionArgs& args) {
  const int slabs = (args.positions + kSlab - 1) / kSlab;
  for (int head = 0; head < args.heads; ++head) {
    const float* q = args.q + head * args.head_dim;
    float* a = args.a + head * args.head_dim;
    int s = 0;
    for (; s + 4 <= slabs; s += 4) {
      score_slabs<4>(q, args.k + size_t(s) * args.k_slab_stride, args.k_slab_stride, args.head_dim,
                     args.scores + s * kSlab);
    }
    for (; s < slabs; ++s) {
      score_slabs<1>(q, args.k + size_t(s) * args.k_slab_stride, args.k_slab_stride, args.head_dim,
                     args.scores + s * kSlab);
    }
    const float total = exponentiate(args.scores, slabs, args.positions);
    int j = 0;
    for (; j + 64 <= args.head_dim; j += 64) {
      weigh_values<8>(args.scores, args.v + j, args.v_position_stride, args.positions, total, a + j,
                      64);
    }
    for (; j < args.head_dim; j += 8) {
      const int size = args.head_dim - j < 8 ? args.head_dim - j : 8;
      weigh_values<1>(args.scores, args.v + j, args.v_position_stride, args.positions, total, a + j,
                      size);
    }
  }
}
