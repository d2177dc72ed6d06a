#include <vector>

#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

// Calls finish(row, logits, target, lse) for every row with a target, after its logits have become
// probabilities.
template <typename T, typename Finish>
static LossSums sum_losses(Workers<T>& workers, T* logits, const int32_t* targets, int rows,
                           int vocab_size, const Finish& finish) {
  std::vector<double> losses(rows), lses(rows);
  for_rows(workers, rows, [&](int t) {
    T* row = logits + size_t(t) * vocab_size;
    const int target = targets[t];
    if (target < 0) {
      std::fill_n(row, vocab_size, T(0));
      return;
    }
    const T target_logit = row[target];
    const T lse = workers.kernels.softmax(row, T(1), vocab_size);
    losses[t] = double(lse) - double(target_logit);
    lses[t] = double(lse);
    finish(row, target, lse);
  });
  LossSums sums;
  for (int t = 0; t < rows; ++t) {
    sums.cross_entropy += losses[t];
    sums.squared_lse += lses[t] * lses[t];
  }
  return sums;
}

template <typename T>
LossSums cross_entropy(Workers<T>& workers, T* logits, const int32_t* targets, int rows,
                       int vocab_size) {
  return sum_losses(workers, logits, targets, rows, vocab_size, [](T*, int, T) {});
}

// d(lse)/d(logit_i) = p_i, so the gradient of a row is scale * (p * (1 + 2 * z_loss * lse) -
// target).
template <typename T>
LossSums cross_entropy_backward(Workers<T>& workers, T* logits, const int32_t* targets, int rows,
                                int vocab_size, double scale, double z_loss) {
  return sum_losses(workers, logits, targets, rows, vocab_size, [&](T* row, int target, T lse) {
    const T factor = T(scale * (1 + 2 * z_loss * double(lse)));
    for (int i = 0; i < vocab_size; ++i) row[i] *= factor;
    row[target] -= T(scale);
  });
}

template LossSums cross_entropy(Workers<float>&, float*, const int32_t*, int, int);
template LossSums cross_entropy(Workers<double>&, double*, const int32_t*, int, int);
template LossSums cross_entropy_backward(Workers<float>&, float*, const int32_t*, int, int, double,
                                         double);
template LossSums cross_entropy_backward(Workers<double>&, double*, const int32_t*, int, int,
                                         double, double);

}  // namespace openelm::train
