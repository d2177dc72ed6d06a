#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

template <typename T>
void add(Workers<T>& workers, const T* a, const T* b, int rows, int cols, T* y) {
  for_rows(workers, rows, [&](int t) {
    const size_t at = size_t(t) * cols;
    for (int j = 0; j < cols; ++j) y[at + j] = a[at + j] + b[at + j];
  });
}

template void add(Workers<float>&, const float*, const float*, int, int, float*);
template void add(Workers<double>&, const double*, const double*, int, int, double*);

}  // namespace openelm::train
