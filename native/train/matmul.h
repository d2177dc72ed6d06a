#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "frozen_matrix.h"
#include "kernels.h"
#include "task_pool.h"

namespace openelm::train {

// A matrix where it lies: element (i, j) is data[i * row_stride + j * col_stride]. One of the
// strides is 1, so that a transpose costs nothing. Or it is a frozen one, or the transpose of that.
template <typename T>
struct View {
  const T* data;
  size_t row_stride;
  size_t col_stride = 1;
  const FrozenMatrix* frozen = nullptr;
  bool is_transposed = false;  // of `frozen`

  View transposed() const { return {data, col_stride, row_stride, frozen, !is_transposed}; }
};

// The part of the inner dimension that one pass covers: a panel of either factor stays in L1.
constexpr int kDepth = 256;

// How the inner dimension is cut into passes: every kDepth, or where a list says. The sums of the
// passes are added up in order.
class Depths {
 public:
  Depths(int size) : size_(size) {}  // NOLINT: an inner dimension is cut every kDepth
  // Ascending, at most kDepth apart, from 0 to the end. Must outlive this.
  explicit Depths(const std::vector<int>& begins) : size_(begins.back()), begins_(&begins) {}

  int size() const { return size_; }
  int count() const { return begins_ ? int(begins_->size()) - 1 : (size_ + kDepth - 1) / kDepth; }
  int begin(int pass) const { return begins_ ? (*begins_)[pass] : pass * kDepth; }
  int depth(int pass) const {
    const int end = begins_ ? (*begins_)[pass + 1] : std::min(begin(pass) + kDepth, size_);
    return end - begin(pass);
  }

 private:
  int size_;
  const std::vector<int>* begins_ = nullptr;
};

// Products of matrices of any layout. Both factors are copied into panels that the tile kernel
// reads from end to end; a task then computes a block of the result, over the inner dimension in
// order. So the result does not depend on the number of threads.
template <typename T>
class Matmul {
 public:
  explicit Matmul(TaskPool& pool) : pool_(pool) {}

  // Makes room for factors of up to so many elements in panels, so that products do not allocate: a
  // task of a pool must not throw.
  void reserve(size_t a_size, size_t b_size);

  // c = a * b, or c += a * b, with a [m, k], b [k, n] and c [m, n] in rows of c_stride.
  void assign(View<T> a, View<T> b, int m, int n, int k, T* c, size_t c_stride) {
    multiply(a, b, m, n, k, c, c_stride, false);
  }
  void accumulate(View<T> a, View<T> b, int m, int n, const Depths& k, T* c, size_t c_stride) {
    multiply(a, b, m, n, k, c, c_stride, true);
  }

  // The second factor of a product, which is c [m, n] in rows of n.
  struct Right {
    View<T> b;
    int n;
    T* c;
  };
  // The same as two calls of assign(), but a is copied once.
  void assign_both(View<T> a, int m, int k, const Right& first, const Right& second) {
    const Depths depths(k);
    pack_left(a, m, depths);
    for (const Right& right : {first, second}) {
      multiply_left(right.b, m, right.n, depths, right.c, size_t(right.n), false);
    }
  }

 private:
  void multiply(View<T> a, View<T> b, int m, int n, const Depths& k, T* c, size_t c_stride,
                bool adds) {
    pack_left(a, m, k);
    multiply_left(b, m, n, k, c, c_stride, adds);
  }
  void pack_left(View<T> a, int m, const Depths& k);
  // By the factor that pack_left() has left.
  void multiply_left(View<T> b, int m, int n, const Depths& k, T* c, size_t c_stride, bool adds);

  TaskPool& pool_;
  const Kernels<T>& kernels_ = kernels<T>();
  std::vector<T> packed_a_;
  std::vector<T> packed_b_;
};

}  // namespace openelm::train
