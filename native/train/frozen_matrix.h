#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../dtype.h"

namespace openelm::train {

// A matrix of weights that stay as they are, in fewer bits than one computes with: rows as
// checkpoints store them (quantize.h).
struct FrozenMatrix {
  DType dtype = DType::kBFloat16;
  int cols = 0;
  uint8_t* values = nullptr;   // [rows, value_row_bytes()]
  uint16_t* scales = nullptr;  // [rows, groups] of a quantised dtype

  // to [count] = the elements of a row from the column `begin` on. T holds each exactly.
  template <typename T>
  void decode(int row, int begin, int count, T* to) const;
};

// Weights [rows, cols] that an op reads: row-major in T, or frozen.
template <typename T>
struct Weight {
  Weight() = default;
  Weight(const T* values) : plain(values) {}              // NOLINT: either is a weight
  Weight(const FrozenMatrix* matrix) : frozen(matrix) {}  // NOLINT

  // to [cols] = a row.
  void decode_row(int row, int cols, T* to) const {
    if (frozen) return frozen->decode(row, 0, cols, to);
    std::memcpy(to, plain + size_t(row) * size_t(cols), size_t(cols) * sizeof(T));
  }

  const T* plain = nullptr;
  const FrozenMatrix* frozen = nullptr;
};

// As a parameter that T is not deduced from, so that an array converts to it.
template <typename T>
using WeightOf = std::type_identity_t<Weight<T>>;

}  // namespace openelm::train
