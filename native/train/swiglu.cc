#include "ops.h"
#include "row_blocks.h"

namespace openelm::train {

template <typename T>
void swiglu(Workers<T>& workers, bool with_glu, const T* gate_up, int rows, int ffn_dim, T* y) {
  const Kernels<T>& kernels = workers.kernels;
  const size_t stride = with_glu ? 2 * ffn_dim : ffn_dim;
  for_rows(workers, rows, [&](int t) {
    const T* gate = gate_up + t * stride;
    T* to = y + size_t(t) * ffn_dim;
    if (with_glu) {
      kernels.swiglu(gate, gate + ffn_dim, ffn_dim, to);
    } else {
      kernels.silu(gate, ffn_dim, to);
    }
  });
}

template <typename T>
void swiglu_backward(Workers<T>& workers, bool with_glu, const T* gate_up, const T* dy, int rows,
                     int ffn_dim, T* dgate_up) {
  const Kernels<T>& kernels = workers.kernels;
  const size_t stride = with_glu ? 2 * ffn_dim : ffn_dim;
  for_rows(workers, rows, [&](int t) {
    const T* gate = gate_up + t * stride;
    const T* gradient = dy + size_t(t) * ffn_dim;
    T* dgate = dgate_up + t * stride;
    if (with_glu) {
      kernels.swiglu_backward(gate, gate + ffn_dim, gradient, ffn_dim, dgate, dgate + ffn_dim);
    } else {
      kernels.silu_backward(gate, gradient, ffn_dim, dgate);
    }
  });
}

template void swiglu(Workers<float>&, bool, const float*, int, int, float*);
template void swiglu(Workers<double>&, bool, const double*, int, int, double*);
template void swiglu_backward(Workers<float>&, bool, const float*, const float*, int, int, float*);
template void swiglu_backward(Workers<double>&, bool, const double*, const double*, int, int,
                              double*);

}  // namespace openelm::train
