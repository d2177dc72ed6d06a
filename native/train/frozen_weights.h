#pragma once

#include <map>
#include <vector>

#include "../model/tensor_source.h"
#include "activations.h"
#include "frozen_matrix.h"
#include "task_pool.h"

namespace openelm::train {

// The weights of a model that is trained by an adapter. Norms are in T, and so are matrices of
// kFloat32; those of another dtype are as the engine keeps them.
template <typename T>
class FrozenWeights {
 public:
  FrozenWeights() = default;
  FrozenWeights(const Parameters& parameters, DType dtype);

  // In the layout of the parameters, when they are in T one and all; else null.
  T* all() const { return coded_.empty() ? static_cast<T*>(plain_) : nullptr; }
  // Of the tensor that begins there in the layout.
  T* plain(size_t begin) const { return plain_ + places_.at(begin); }
  Weight<T> matrix(size_t begin) const;

  // All that is kept, in pieces of memory that are the same in every process.
  struct Piece {
    void* data;
    size_t bytes;
  };
  std::vector<Piece> pieces() const;

  // Reads that tensor. Throws what RowReader does.
  void read(TaskPool& pool, const TensorSource& source, size_t begin);

 private:
  struct Coded {
    FrozenMatrix matrix;
    Pages<uint8_t> memory;
    size_t bytes = 0;
  };

  // By where the tensor begins in the layout.
  std::map<size_t, size_t> places_;  // in plain_
  std::map<size_t, Coded> coded_;
  Pages<T> plain_;
  size_t plain_size_ = 0;
};

// to [rows, cols] = a tensor.
template <typename T>
void read_tensor(TaskPool& pool, const TensorSource& source, T* to);

}  // namespace openelm::train
