#pragma once

#include <cstdint>
#include <vector>

#include "parameters.h"
#include "workers.h"

namespace openelm::train {

struct AdamWOptions {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // of matrices only
  double max_grad_norm = 1;   // gradients are scaled down to this L2 norm; infinity leaves them
  int64_t step = 1;           // counts from 1
};

// The four arrays that AdamW reads and writes, in one layout.
template <typename T>
struct AdamWState {
  T* weights;
  T* gradients;
  T* first_moments;
  T* second_moments;
};

// One step of AdamW (Loshchilov and Hutter, 2019) with g the clipped gradient and t the step:
//   m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g^2,
//   w = w - rate * decay * w - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
// Gradients become zero. Returns their norm before clipping; when that is not finite, nothing but
// the gradients changes.
template <typename T>
double adamw(Workers<T>&, const Layout&, const AdamWOptions&, const AdamWState<T>&);

// Its parts, of a range of all elements. Squares are summed chunk by chunk, each on its own, and
// then in their order, so that the norm depends neither on the threads nor on who has which chunks.
constexpr size_t kChunk = 1 << 16;

// sums [chunks] = the sums of the squares of the chunks of x in [begin, end); `begin` is a multiple
// of kChunk.
template <typename T>
void sum_squares(Workers<T>&, const T* x, size_t begin, size_t end, double* sums);

double norm_of(const std::vector<double>& sums);

// The step of the elements in [begin, end), whose gradients become zero.
template <typename T>
void adamw_range(Workers<T>&, const Layout&, const AdamWOptions&, double norm, const AdamWState<T>&,
                 size_t begin, size_t end);

}  // namespace openelm::train
