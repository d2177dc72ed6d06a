#include "adamw.h"

#include <algorithm>
#include <cmath>

namespace openelm::train {

template <typename T>
void sum_squares(Workers<T>& workers, const T* x, size_t begin, size_t end, double* sums) {
  const size_t chunks = (end - begin + kChunk - 1) / kChunk;
  workers.pool.run_all(int(chunks), [&](int chunk, int) {
    const size_t from = begin + chunk * kChunk;
    const size_t to = std::min(from + kChunk, end);
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += double(x[i]) * double(x[i]);
    sums[chunk] = sum;
  });
}

double norm_of(const std::vector<double>& sums) {
  double total = 0;
  for (double sum : sums) total += sum;
  return std::sqrt(total);
}

template <typename T>
void adamw_range(Workers<T>& workers, const Layout& layout, const AdamWOptions& options,
                 double norm, const AdamWState<T>& state, size_t range_begin, size_t range_end) {
  const T clip = T(std::min(1.0, options.max_grad_norm / (norm + 1e-6)));
  const T beta1 = T(options.beta1);
  const T beta2 = T(options.beta2);
  const T eps = T(options.eps);
  const double correction1 = 1 - std::pow(options.beta1, double(options.step));
  const double correction2 = 1 - std::pow(options.beta2, double(options.step));
  const T rate = T(options.learning_rate / correction1);
  const T inverse_root = T(1 / std::sqrt(correction2));

  for (const Layout::Tensor& tensor : layout.tensors) {
    const size_t first = std::max(tensor.begin, range_begin);
    const size_t last = std::min(tensor.end, range_end);
    if (first >= last) continue;
    const double decay = tensor.is_matrix ? options.weight_decay : 0;
    const T kept = T(1 - options.learning_rate * decay);
    const size_t chunks = (last - first + kChunk - 1) / kChunk;
    workers.pool.run_all(int(chunks), [&](int chunk, int) {
      const size_t begin = first + chunk * kChunk;
      const size_t end = std::min(begin + kChunk, last);
      for (size_t i = begin; i < end; ++i) {
        const T gradient = state.gradients[i] * clip;
        const T m = beta1 * state.first_moments[i] + (1 - beta1) * gradient;
        const T v = beta2 * state.second_moments[i] + (1 - beta2) * gradient * gradient;
        state.weights[i] = kept * state.weights[i] - rate * m / (std::sqrt(v) * inverse_root + eps);
        state.first_moments[i] = m;
        state.second_moments[i] = v;
        state.gradients[i] = 0;
      }
    });
  }
}

template <typename T>
double adamw(Workers<T>& workers, const Layout& layout, const AdamWOptions& options,
             const AdamWState<T>& state) {
  const size_t size = layout.size();
  std::vector<double> sums((size + kChunk - 1) / kChunk);
  sum_squares<T>(workers, state.gradients, 0, size, sums.data());
  const double norm = norm_of(sums);
  if (std::isfinite(norm)) {
    adamw_range(workers, layout, options, norm, state, 0, size);
  } else {
    std::fill_n(state.gradients, size, T(0));
  }
  return norm;
}

#define FOR_TYPE(T)                                                                  \
  template void sum_squares(Workers<T>&, const T*, size_t, size_t, double*);         \
  template void adamw_range(Workers<T>&, const Layout&, const AdamWOptions&, double, \
                            const AdamWState<T>&, size_t, size_t);                   \
  template double adamw(Workers<T>&, const Layout&, const AdamWOptions&, const AdamWState<T>&);
FOR_TYPE(float)
FOR_TYPE(double)
#undef FOR_TYPE

}  // namespace openelm::train
