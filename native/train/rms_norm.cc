#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

template <typename T>
void rms_norm(Workers<T>& workers, const T* x, const T* weight, T eps, int rows, int cols, T* y) {
  for_rows(workers, rows, [&](int t) {
    workers.kernels.rms_norm(x + size_t(t) * cols, weight, eps, cols, y + size_t(t) * cols);
  });
}

template <typename T>
void rms_norm_backward(Workers<T>& workers, const T* x, const T* weight, T eps, const T* dy,
                       const RowBlocks& rows, int cols, T* dx, T* dweight) {
  sum_over_rows(
      workers, rows, cols,
      [&](int t, T* partial) {
        const size_t at = size_t(t) * cols;
        workers.kernels.rms_norm_backward(x + at, weight, eps, dy + at, cols, dx + at, partial);
      },
      [&](const T* partial) {
        for (int j = 0; dweight && j < cols; ++j) dweight[j] += partial[j];
      });
}

template void rms_norm(Workers<float>&, const float*, const float*, float, int, int, float*);
template void rms_norm(Workers<double>&, const double*, const double*, double, int, int, double*);
template void rms_norm_backward(Workers<float>&, const float*, const float*, float, const float*,
                                const RowBlocks&, int, float*, float*);
template void rms_norm_backward(Workers<double>&, const double*, const double*, double,
                                const double*, const RowBlocks&, int, double*, double*);

}  // namespace openelm::train
