#include "ops.h"

namespace openelm::train {

template <typename T>
static View<T> rows_of(const T* data, int cols) {
  return {data, size_t(cols)};
}
template <typename T>
static View<T> rows_of(const Weight<T>& weight, int cols) {
  return {weight.plain, size_t(cols), 1, weight.frozen};
}

template <typename T>
void linear(Workers<T>& workers, const T* x, WeightOf<T> weight, int rows, int in, int out, T* y) {
  workers.matmul.assign(rows_of(x, in), rows_of(weight, in).transposed(), rows, out, in, y, out);
}

template <typename T>
void linear_both(Workers<T>& workers, const T* x, int rows, int in, const LinearPart<T>& first,
                 const LinearPart<T>& second) {
  const auto right = [&](const LinearPart<T>& part) -> typename Matmul<T>::Right {
    return {rows_of(part.weight, in).transposed(), part.width, part.result};
  };
  workers.matmul.assign_both(rows_of(x, in), rows, in, right(first), right(second));
}

template <typename T>
void linear_dx_both(Workers<T>& workers, const T* dy, int rows, int out, const LinearPart<T>& first,
                    const LinearPart<T>& second) {
  const auto right = [&](const LinearPart<T>& part) -> typename Matmul<T>::Right {
    return {rows_of(part.weight, part.width), part.width, part.result};
  };
  workers.matmul.assign_both(rows_of(dy, out), rows, out, right(first), right(second));
}

template <typename T>
void linear_add(Workers<T>& workers, const T* x, WeightOf<T> weight, int rows, int in, int out,
                T* y) {
  workers.matmul.accumulate(rows_of(x, in), rows_of(weight, in).transposed(), rows, out, in, y,
                            out);
}

template <typename T>
void linear_dx(Workers<T>& workers, WeightOf<T> weight, const T* dy, int rows, int in, int out,
               T* dx) {
  workers.matmul.assign(rows_of(dy, out), rows_of(weight, in), rows, in, out, dx, in);
}

template <typename T>
void linear_dx_add(Workers<T>& workers, WeightOf<T> weight, const T* dy, int rows, int in, int out,
                   T* dx) {
  workers.matmul.accumulate(rows_of(dy, out), rows_of(weight, in), rows, in, out, dx, in);
}

template <typename T>
void linear_dweight(Workers<T>& workers, const T* x, const T* dy, const RowBlocks& rows, int in,
                    int out, T* dweight) {
  workers.matmul.accumulate(rows_of(dy, out).transposed(), rows_of(x, in), out, in,
                            Depths(rows.depths), dweight, in);
}

#define INSTANTIATE(T)                                                                \
  template void linear(Workers<T>&, const T*, Weight<T>, int, int, int, T*);          \
  template void linear_both(Workers<T>&, const T*, int, int, const LinearPart<T>&,    \
                            const LinearPart<T>&);                                    \
  template void linear_dx_both(Workers<T>&, const T*, int, int, const LinearPart<T>&, \
                               const LinearPart<T>&);                                 \
  template void linear_add(Workers<T>&, const T*, Weight<T>, int, int, int, T*);      \
  template void linear_dx(Workers<T>&, Weight<T>, const T*, int, int, int, T*);       \
  template void linear_dx_add(Workers<T>&, Weight<T>, const T*, int, int, int, T*);   \
  template void linear_dweight(Workers<T>&, const T*, const T*, const RowBlocks&, int, int, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace openelm::train
