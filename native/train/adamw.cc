#include "adamw.h"

#include <algorithm>
#include <cmath>

namespace openelm::train {

constexpr size_t kChunk = 1 << 16;

// Chunks are summed each on its own and then in order, whatever the threads.
template <typename T>
static double norm_of(Workers<T>& workers, const T* x, size_t size) {
  std::vector<double> sums((size + kChunk - 1) / kChunk);
  workers.pool.run_all(int(sums.size()), [&](int chunk, int) {
    const size_t begin = chunk * kChunk;
    const size_t end = std::min(begin + kChunk, size);
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += double(x[i]) * double(x[i]);
    sums[chunk] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return std::sqrt(total);
}

template <typename T>
double adamw(Workers<T>& workers, const Layout& layout, const AdamWOptions& options,
             const AdamWState<T>& state) {
  const size_t size = layout.size();
  const double norm = norm_of(workers, state.gradients, size);
  if (!std::isfinite(norm)) {
    std::fill_n(state.gradients, size, T(0));
    return norm;
  }
  const T clip = T(std::min(1.0, options.max_grad_norm / (norm + 1e-6)));
  const T beta1 = T(options.beta1);
  const T beta2 = T(options.beta2);
  const T eps = T(options.eps);
  const double correction1 = 1 - std::pow(options.beta1, double(options.step));
  const double correction2 = 1 - std::pow(options.beta2, double(options.step));
  const T rate = T(options.learning_rate / correction1);
  const T inverse_root = T(1 / std::sqrt(correction2));

  for (const Layout::Tensor& tensor : layout.tensors) {
    const double decay = tensor.is_matrix ? options.weight_decay : 0;
    const T kept = T(1 - options.learning_rate * decay);
    const size_t chunks = (tensor.end - tensor.begin + kChunk - 1) / kChunk;
    workers.pool.run_all(int(chunks), [&](int chunk, int) {
      const size_t begin = tensor.begin + chunk * kChunk;
      const size_t end = std::min(begin + kChunk, tensor.end);
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
  return norm;
}

template double adamw(Workers<float>&, const Layout&, const AdamWOptions&,
                      const AdamWState<float>&);
template double adamw(Workers<double>&, const Layout&, const AdamWOptions&,
                      const AdamWState<double>&);

}  // namespace openelm::train
