#include <algorithm>

#include "ops.h"

namespace openelm::train {

template <typename T>
void embed(Workers<T>& workers, const int32_t* tokens, WeightOf<T> weight, int rows, int cols,
           T* x) {
  workers.pool.run(rows,
                   [&](int t, int) { weight.decode_row(tokens[t], cols, x + size_t(t) * cols); });
}

// Tokens repeat, so a task takes a strip of columns rather than some of the rows.
template <typename T>
void embed_backward(Workers<T>& workers, const int32_t* tokens, const T* dx, int rows, int cols,
                    T* dweight) {
  constexpr int kStrip = 64;
  workers.pool.run((cols + kStrip - 1) / kStrip, [&](int strip, int) {
    const int begin = strip * kStrip;
    const int end = std::min(begin + kStrip, cols);
    for (int t = 0; t < rows; ++t) {
      T* to = dweight + size_t(tokens[t]) * cols;
      for (int j = begin; j < end; ++j) to[j] += dx[size_t(t) * cols + j];
    }
  });
}

template void embed(Workers<float>&, const int32_t*, Weight<float>, int, int, float*);
template void embed(Workers<double>&, const int32_t*, Weight<double>, int, int, double*);
template void embed_backward(Workers<float>&, const int32_t*, const float*, int, int, float*);
template void embed_backward(Workers<double>&, const int32_t*, const double*, int, int, double*);

}  // namespace openelm::train
