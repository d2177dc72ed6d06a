#include <algorithm>
#include <cmath>

#include "ops.h"

namespace openelm::train {

// Queries whose scores are in memory at a time.
constexpr int kQueryBlock = 128;

// One sequence and one KV head of it: what a task takes. Query heads of the group share the KV
// head.
template <typename T>
struct Group {
  const HeadShape& shape;
  int sequence_length;
  int kv_head;
  size_t first_row;

  int size() const { return shape.num_query_heads / shape.num_kv_heads; }
  int query_head(int i) const { return kv_head * size() + i; }

  // From the first row of the sequence on.
  template <typename Pointer>
  Pointer query(Pointer qk, int head) const {
    return qk + first_row * shape.qk_dim() + head * shape.head_dim;
  }
  template <typename Pointer>
  Pointer key(Pointer qk) const {
    return query(qk, shape.num_query_heads + kv_head);
  }
  template <typename Pointer>
  Pointer value(Pointer qkv) const {
    return qkv + first_row * shape.qkv_dim() + shape.qk_dim() + kv_head * shape.head_dim;
  }
  template <typename Pointer>
  Pointer output(Pointer a, int head) const {
    return a + first_row * shape.q_dim() + head * shape.head_dim;
  }
  size_t lse_at(int head, int row) const {
    return (first_row + row) * shape.num_query_heads + head;
  }
};

template <typename T, typename Body>
static void for_groups(Workers<T>& workers, const HeadShape& shape, const Sequences& sequences,
                       const Body& body) {
  const size_t length = sequences.longest();
  const size_t widest = std::max(length, size_t(shape.head_dim));
  for (Scratch<T>& scratch : workers.scratch) {
    scratch.scores.resize(kQueryBlock * length);
    scratch.dscores.resize(kQueryBlock * length);
    scratch.matmul.reserve(
        (kQueryBlock + kTileRows) * (widest + kTileRows),
        (std::max(length, size_t(kQueryBlock)) + kTileCols) * (shape.head_dim + kTileCols));
  }
  workers.pool.run(sequences.count() * shape.num_kv_heads, [&](int task, int thread) {
    const int sequence = task / shape.num_kv_heads;
    const Group<T> group{shape, sequences.length(sequence), task % shape.num_kv_heads,
                         size_t(sequences.begin(sequence))};
    body(group, workers.scratch[thread]);
  });
}

// scores [rows, begin + rows] = the queries from position `begin` on times the keys up to them.
template <typename T>
static void score(const Group<T>& group, Scratch<T>& scratch, const T* qk, int head, int begin,
                  int rows) {
  const size_t stride = group.shape.qk_dim();
  const View<T> queries{group.query(qk, head) + begin * stride, stride};
  const View<T> keys{group.key(qk), stride};
  scratch.matmul.assign(queries, keys.transposed(), rows, begin + rows, group.shape.head_dim,
                        scratch.scores.data(), group.sequence_length);
}

template <typename T>
void attention(Workers<T>& workers, const HeadShape& shape, const T* qk, const T* qkv,
               const Sequences& sequences, T* a, T* lse) {
  const T scale = T(1) / std::sqrt(T(shape.head_dim));
  for_groups(workers, shape, sequences, [&](const Group<T>& group, Scratch<T>& scratch) {
    const int length = group.sequence_length;
    for (int i = 0; i < group.size(); ++i) {
      const int head = group.query_head(i);
      for (int begin = 0; begin < length; begin += kQueryBlock) {
        const int rows = std::min(kQueryBlock, length - begin);
        const int keys = begin + rows;
        if (workers.pool.cancelled()) return;
        score(group, scratch, qk, head, begin, rows);
        for (int row = 0; row < rows; ++row) {
          T* scores = scratch.scores.data() + size_t(row) * length;
          const int visible = begin + row + 1;
          lse[group.lse_at(head, begin + row)] = workers.kernels.softmax(scores, scale, visible);
          std::fill(scores + visible, scores + keys, T(0));
        }
        scratch.matmul.assign({scratch.scores.data(), size_t(length)},
                              {group.value(qkv), size_t(shape.qkv_dim())}, rows, shape.head_dim,
                              keys, group.output(a, head) + size_t(begin) * shape.q_dim(),
                              shape.q_dim());
      }
    }
  });
}

// With P = softmax(scale * Q * K^T) and A = P * V:
//   dV = P^T * dA, dP = dA * V^T, dS = scale * P * (dP - rowsum(dA * A)), dQ = dS * K, dK = dS^T *
//   Q
template <typename T>
static void attend_backward(Workers<T>& workers, const Group<T>& group, Scratch<T>& scratch,
                            const T* qk, const T* qkv, const T* a, const T* lse, const T* da,
                            int head, int begin, T* dqk, T* dqkv) {
  const HeadShape& shape = group.shape;
  const int h = shape.head_dim;
  const size_t length = group.sequence_length;
  const size_t qk_stride = shape.qk_dim();
  const size_t v_stride = shape.qkv_dim();
  const size_t a_stride = shape.q_dim();
  const int rows = std::min(kQueryBlock, group.sequence_length - begin);
  const int keys = begin + rows;
  const T scale = T(1) / std::sqrt(T(h));
  const T* outputs = group.output(a, head) + begin * a_stride;
  const T* doutputs = group.output(da, head) + begin * a_stride;
  const View<T> scores{scratch.scores.data(), length};
  const View<T> dscores{scratch.dscores.data(), length};

  score(group, scratch, qk, head, begin, rows);
  scratch.matmul.assign({doutputs, a_stride}, View<T>{group.value(qkv), v_stride}.transposed(),
                        rows, keys, h, scratch.dscores.data(), length);
  for (int row = 0; row < rows; ++row) {
    T* p = scratch.scores.data() + row * length;
    T* dp = scratch.dscores.data() + row * length;
    const int visible = begin + row + 1;
    workers.kernels.softmax_again(p, scale, lse[group.lse_at(head, begin + row)], visible);
    const T total = workers.kernels.dot(doutputs + row * a_stride, outputs + row * a_stride, h);
    workers.kernels.softmax_backward(p, total, scale, visible, dp);
    std::fill(p + visible, p + keys, T(0));
    std::fill(dp + visible, dp + keys, T(0));
  }
  scratch.matmul.assign(dscores, {group.key(qk), qk_stride}, rows, h, keys,
                        group.query(dqk, head) + begin * qk_stride, qk_stride);
  scratch.matmul.accumulate(dscores.transposed(),
                            {group.query(qk, head) + begin * qk_stride, qk_stride}, keys, h, rows,
                            group.key(dqk), qk_stride);
  scratch.matmul.accumulate(scores.transposed(), {doutputs, a_stride}, keys, h, rows,
                            group.value(dqkv), v_stride);
}

template <typename T>
void attention_backward(Workers<T>& workers, const HeadShape& shape, const T* qk, const T* qkv,
                        const T* a, const T* lse, const T* da, const Sequences& sequences, T* dqk,
                        T* dqkv) {
  const int h = shape.head_dim;
  for_groups(workers, shape, sequences, [&](const Group<T>& group, Scratch<T>& scratch) {
    for (int row = 0; row < group.sequence_length; ++row) {
      std::fill_n(group.key(dqk) + size_t(row) * shape.qk_dim(), h, T(0));
      std::fill_n(group.value(dqkv) + size_t(row) * shape.qkv_dim(), h, T(0));
    }
    for (int i = 0; i < group.size(); ++i) {
      for (int begin = 0; begin < group.sequence_length; begin += kQueryBlock) {
        if (workers.pool.cancelled()) return;
        attend_backward(workers, group, scratch, qk, qkv, a, lse, da, group.query_head(i), begin,
                        dqk, dqkv);
      }
    }
  });
}

template void attention(Workers<float>&, const HeadShape&, const float*, const float*,
                        const Sequences&, float*, float*);
template void attention(Workers<double>&, const HeadShape&, const double*, const double*,
                        const Sequences&, double*, double*);
template void attention_backward(Workers<float>&, const HeadShape&, const float*, const float*,
                                 const float*, const float*, const float*, const Sequences&, float*,
                                 float*);
template void attention_backward(Workers<double>&, const HeadShape&, const double*, const double*,
                                 const double*, const double*, const double*, const Sequences&,
                                 double*, double*);

}  // namespace openelm::train
