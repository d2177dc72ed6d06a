#include "ops.h"

namespace openelm::train {

template <typename T>
static View<T> rows_of(const T* data, int cols) {
  return {data, size_t(cols)};
}

template <typename T>
void linear(Workers<T>& workers, const T* x, const T* weight, int rows, int in, int out, T* y) {
  workers.matmul.assign(rows_of(x, in), rows_of(weight, in).transposed(), rows, out, in, y, out);
}

template <typename T>
void linear_add(Workers<T>& workers, const T* x, const T* weight, int rows, int in, int out, T* y) {
  workers.matmul.accumulate(rows_of(x, in), rows_of(weight, in).transposed(), rows, out, in, y,
                            out);
}

template <typename T>
void linear_backward(Workers<T>& workers, const T* x, const T* weight, const T* dy, int rows,
                     int in, int out, T* dx, T* dweight) {
  const View<T> gradient = rows_of(dy, out);
  workers.matmul.assign(gradient, rows_of(weight, in), rows, in, out, dx, in);
  workers.matmul.accumulate(gradient.transposed(), rows_of(x, in), out, in, rows, dweight, in);
}

template void linear(Workers<float>&, const float*, const float*, int, int, int, float*);
template void linear(Workers<double>&, const double*, const double*, int, int, int, double*);
template void linear_add(Workers<float>&, const float*, const float*, int, int, int, float*);
template void linear_add(Workers<double>&, const double*, const double*, int, int, int, double*);
template void linear_backward(Workers<float>&, const float*, const float*, const float*, int, int,
                              int, float*, float*);
template void linear_backward(Workers<double>&, const double*, const double*, const double*, int,
                              int, int, double*, double*);

}  // namespace openelm::train
