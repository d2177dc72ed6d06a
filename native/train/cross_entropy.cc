#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

template <typename T>
void cross_entropy(Workers<T>& workers, T* logits, const int32_t* targets, int rows, int vocab_size,
                   TokenLoss* losses) {
  for_rows(workers, rows, [&](int t) {
    T* row = logits + size_t(t) * vocab_size;
    const T target_logit = row[targets[t]];
    const T lse = workers.kernels.softmax(row, T(1), vocab_size);
    losses[t] = {double(lse) - double(target_logit), double(lse)};
  });
}

// d(lse)/d(logit_i) = p_i, so the gradient of a row is scale * (p * (1 + 2 * z_loss * lse) -
// target).
template <typename T>
void cross_entropy_backward(Workers<T>& workers, T* logits, const int32_t* targets,
                            const double* scales, int rows, int vocab_size, double z_loss,
                            TokenLoss* losses) {
  cross_entropy(workers, logits, targets, rows, vocab_size, losses);
  for_rows(workers, rows, [&](int t) {
    T* row = logits + size_t(t) * vocab_size;
    const T factor = T(scales[t] * (1 + 2 * z_loss * losses[t].lse));
    for (int i = 0; i < vocab_size; ++i) row[i] *= factor;
    row[targets[t]] -= T(scales[t]);
  });
}

template void cross_entropy(Workers<float>&, float*, const int32_t*, int, int, TokenLoss*);
template void cross_entropy(Workers<double>&, double*, const int32_t*, int, int, TokenLoss*);
template void cross_entropy_backward(Workers<float>&, float*, const int32_t*, const double*, int,
                                     int, double, TokenLoss*);
template void cross_entropy_backward(Workers<double>&, double*, const int32_t*, const double*, int,
                                     int, double, TokenLoss*);

}  // namespace openelm::train
