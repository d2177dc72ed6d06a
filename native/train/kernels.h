#pragma once

#include <cstddef>

namespace openelm::train {

// The inner loops of training, compiled once for each instruction set and chosen at run time. T is
// float, on eight lanes of the processor, or double, in plain C++: what proves the gradients.
//
// A row is n contiguous elements. Backward kernels take the gradient of the loss by the output of
// the forward kernel of that name (dy) and give the one by its input (dx).
constexpr int kTileRows = 6;
constexpr int kTileCols = 16;
constexpr int kMaxTilePanels = 2;

template <typename T>
struct Kernels {
  const char* name;

  // c[i, p * 16 + j] = sum over l < k of a[l, i] * b[p, l, j], or += it, with a [k, 6] and
  // b [panels, k, 16]; c has 6 rows of c_stride. Takes from one panel to tile_panels at a time.
  int tile_panels;
  void (*tile)(const T* a, const T* b, int k, int panels, T* c, size_t c_stride, bool adds);

  T (*dot)(const T* x, const T* y, int n);

  // y = x * r * weight with r = 1 / sqrt(mean(x^2) + eps).
  void (*rms_norm)(const T* x, const T* weight, T eps, int n, T* y);
  // dx += r * weight * dy - x * r^3 * mean(weight * dy * x); dweight += dy * x * r.
  void (*rms_norm_backward)(const T* x, const T* weight, T eps, const T* dy, int n, T* dx,
                            T* dweight);

  // y = silu(gate) * up.
  void (*swiglu)(const T* gate, const T* up, int n, T* y);
  void (*swiglu_backward)(const T* gate, const T* up, const T* dy, int n, T* dgate, T* dup);
  void (*silu)(const T* x, int n, T* y);
  void (*silu_backward)(const T* x, const T* dy, int n, T* dx);

  // x = e^(scale * x - lse), and returns lse, the logarithm of the sum of all e^(scale * x).
  T (*softmax)(T* x, T scale, int n);
  // The same with an lse known from before.
  void (*softmax_again)(T* x, T scale, T lse, int n);
  // dy becomes dx = scale * y * (dy - sum(y * dy)); the sum is `total`.
  void (*softmax_backward)(const T* y, T total, T scale, int n, T* dy);
};

template <typename T>
const Kernels<T>& kernels();

const Kernels<float>& scalar_kernels();
const Kernels<float>& avx2_kernels();
const Kernels<float>& avx512_kernels();
const Kernels<float>& neon_kernels();
const Kernels<double>& double_kernels();

}  // namespace openelm::train
