#include "frozen_weights.h"

#include <algorithm>

#include "../model/load.h"

namespace openelm::train {

// body(first row, count), of so many rows that they are soon read.
template <typename Body>
static void for_parts(TaskPool& pool, const TensorSource& source, const Body& body) {
  const int most = std::max(1, (1 << 18) / std::max(1, source.cols));
  pool.run_throwing((source.rows + most - 1) / most, [&](int part, int) {
    body(part * most, std::min(most, source.rows - part * most));
  });
}

template <typename T>
void read_tensor(TaskPool& pool, const TensorSource& source, T* to) {
  for_parts(pool, source, [&](int first, int count) {
    std::vector<float> rows(size_t(count) * source.cols);
    RowReader(source).read_float(first, count, rows.data());
    std::copy(rows.begin(), rows.end(), to + size_t(first) * source.cols);
  });
}

template <typename T>
FrozenWeights<T>::FrozenWeights(const Parameters& parameters, DType dtype) {
  for (const auto& [begin, end, is_matrix, shape] : parameters.tensors) {
    if (dtype == DType::kFloat32 || !is_matrix) {
      places_[begin] = plain_size_;
      plain_size_ += end - begin;
      continue;
    }
    const bool reaches_logits = begin == parameters.token_embeddings || begin == parameters.lm_head;
    const DType own = matrix_dtype(dtype, reaches_logits ? kHeadName : "", shape.cols);
    const size_t values = shape.rows * value_row_bytes(own, shape.cols);
    const size_t scales = shape.rows * scale_row_bytes(own, shape.cols);
    Coded& coded = coded_[begin];
    coded.bytes = values + scales;
    coded.memory = Pages<uint8_t>(coded.bytes);
    coded.matrix = {own, shape.cols, coded.memory,
                    reinterpret_cast<uint16_t*>(coded.memory + values)};
  }
  plain_ = Pages<T>(plain_size_);
}

template <typename T>
std::vector<typename FrozenWeights<T>::Piece> FrozenWeights<T>::pieces() const {
  std::vector<Piece> pieces = {{static_cast<T*>(plain_), plain_size_ * sizeof(T)}};
  for (const auto& [begin, coded] : coded_) {
    pieces.push_back({static_cast<uint8_t*>(coded.memory), coded.bytes});
  }
  return pieces;
}

template <typename T>
Weight<T> FrozenWeights<T>::matrix(size_t begin) const {
  const auto found = coded_.find(begin);
  if (found == coded_.end()) return static_cast<const T*>(plain(begin));
  return &found->second.matrix;
}

template <typename T>
void FrozenWeights<T>::read(TaskPool& pool, const TensorSource& source, size_t begin) {
  const auto found = coded_.find(begin);
  if (found == coded_.end()) return read_tensor(pool, source, plain(begin));
  const FrozenMatrix& matrix = found->second.matrix;
  for_parts(pool, source, [&](int first, int count) {
    const auto& [dtype, cols, values, scales] = matrix;
    RowReader(source).read(dtype, first, count, values + first * value_row_bytes(dtype, cols),
                           scales + size_t(first) * groups_of(cols));
  });
}

template class FrozenWeights<float>;
template class FrozenWeights<double>;
template void read_tensor(TaskPool&, const TensorSource&, float*);
template void read_tensor(TaskPool&, const TensorSource&, double*);

}  // namespace openelm::train
