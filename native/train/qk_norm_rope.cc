#include <cstring>

#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

// Rotates each pair (x[j], x[j + h/2]) by its angle, or back when `direction` is -1: a rotation is
// orthogonal, so its backward op is the rotation the other way.
template <typename T>
static void rotate(const RopeTable<T>& rope, int position, int head_dim, T direction, T* x) {
  const T* cos = rope.cos(position);
  const T* sin = rope.sin(position);
  const int half = head_dim / 2;
  T* second_half = x + half;
  for (int j = 0; j < half; ++j) {
    const T first = x[j];
    const T second = second_half[j];
    x[j] = first * cos[j] - direction * second * sin[j];
    second_half[j] = second * cos[j] + direction * first * sin[j];
  }
}

template <typename T>
void qk_norm_rope(Workers<T>& workers, const HeadShape& shape, const RopeTable<T>& rope,
                  const T* qkv, const T* q_norm, const T* k_norm, T eps, const Sequences& sequences,
                  T* qk) {
  const int h = shape.head_dim;
  for_rows(workers, sequences.rows(), [&](int t) {
    const T* from = qkv + size_t(t) * shape.qkv_dim();
    T* to = qk + size_t(t) * shape.qk_dim();
    for (int head = 0; head < shape.num_query_heads + shape.num_kv_heads; ++head) {
      const T* norm = head < shape.num_query_heads ? q_norm : k_norm;
      if (norm) {
        workers.kernels.rms_norm(from + head * h, norm, eps, h, to + head * h);
      } else {
        std::memcpy(to + head * h, from + head * h, h * sizeof(T));
      }
      rotate(rope, sequences.position(t), h, T(1), to + head * h);
    }
  });
}

template <typename T>
void qk_norm_rope_backward(Workers<T>& workers, const HeadShape& shape, const RopeTable<T>& rope,
                           const T* qkv, const T* q_norm, const T* k_norm, T eps, T* dqk,
                           const Sequences& sequences, T* dqkv, T* dq_norm, T* dk_norm) {
  const int h = shape.head_dim;
  const auto backward = [&](int t, T* partial) {  // partial: of q_norm, then of k_norm
    const size_t at = size_t(t) * shape.qkv_dim();
    T* dy = dqk + size_t(t) * shape.qk_dim();
    std::memset(dqkv + at, 0, shape.qk_dim() * sizeof(T));
    for (int head = 0; head < shape.num_query_heads + shape.num_kv_heads; ++head, dy += h) {
      const bool is_query = head < shape.num_query_heads;
      const T* norm = is_query ? q_norm : k_norm;
      rotate(rope, sequences.position(t), h, T(-1), dy);
      if (norm) {
        workers.kernels.rms_norm_backward(qkv + at + head * h, norm, eps, dy, h,
                                          dqkv + at + head * h, partial + (is_query ? 0 : h));
      } else {
        std::memcpy(dqkv + at + head * h, dy, h * sizeof(T));
      }
    }
  };
  sum_over_rows(workers, sequences.blocks(), 2 * h, backward, [&](const T* partial) {
    for (int j = 0; dq_norm && j < h; ++j) {
      dq_norm[j] += partial[j];
      dk_norm[j] += partial[h + j];
    }
  });
}

template void qk_norm_rope(Workers<float>&, const HeadShape&, const RopeTable<float>&, const float*,
                           const float*, const float*, float, const Sequences&, float*);
template void qk_norm_rope(Workers<double>&, const HeadShape&, const RopeTable<double>&,
                           const double*, const double*, const double*, double, const Sequences&,
                           double*);
template void qk_norm_rope_backward(Workers<float>&, const HeadShape&, const RopeTable<float>&,
                                    const float*, const float*, const float*, float, float*,
                                    const Sequences&, float*, float*, float*);
template void qk_norm_rope_backward(Workers<double>&, const HeadShape&, const RopeTable<double>&,
                                    const double*, const double*, const double*, double, double*,
                                    const Sequences&, double*, double*, double*);

}  // namespace openelm::train
