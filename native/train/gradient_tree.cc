#include "gradient_tree.h"

#include <algorithm>

namespace openelm::train {

constexpr size_t kTreeChunk = 1 << 16;

// body(begin, end) for ranges that make up [0, size), on all threads.
template <typename Body>
static void for_ranges(TaskPool& pool, size_t size, const Body& body) {
  pool.run_all(int((size + kTreeChunk - 1) / kTreeChunk), [&](int chunk, int) {
    const size_t begin = chunk * kTreeChunk;
    body(begin, std::min(begin + kTreeChunk, size));
  });
}

template <typename T>
void GradientTree<T>::next_leaf(TaskPool& pool, Pages<T>& current, size_t size) {
  // As the carries of a binary counter.
  for (size_t bits = leaves_++; bits & 1; bits >>= 1) add_last(pool, current, size);
  pending_.push_back(current);
  if (spare_.empty()) {
    current = Pages<T>(size);
    return;
  }
  current = spare_.back();
  spare_.pop_back();
  for_ranges(pool, size,
             [&](size_t begin, size_t end) { std::fill(current + begin, current + end, T(0)); });
}

template <typename T>
void GradientTree<T>::finish(TaskPool& pool, T* current, size_t size) {
  while (!pending_.empty()) add_last(pool, current, size);
  leaves_ = 0;
}

template <typename T>
void GradientTree<T>::add_last(TaskPool& pool, T* current, size_t size) {
  const T* left = pending_.back();
  for_ranges(pool, size, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) current[i] = left[i] + current[i];
  });
  spare_.push_back(pending_.back());
  pending_.pop_back();
}

template <typename T>
void add_pieces(const std::vector<T*>& pieces, size_t size) {
  for (size_t stride = 1; stride < pieces.size(); stride *= 2) {
    for (size_t left = 0; left + stride < pieces.size(); left += 2 * stride) {
      const T* right = pieces[left + stride];
      for (size_t i = 0; i < size; ++i) pieces[left][i] = pieces[left][i] + right[i];
    }
  }
}

template class GradientTree<float>;
template class GradientTree<double>;
template void add_pieces(const std::vector<float*>&, size_t);
template void add_pieces(const std::vector<double*>&, size_t);

}  // namespace openelm::train
