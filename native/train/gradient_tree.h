#pragma once

#include <cstddef>
#include <vector>

#include "activations.h"
#include "task_pool.h"

namespace openelm::train {

// The sum of the gradients of a step's leaves, in an order that does not depend on how many
// processes share them: neighbours are added, then neighbours of these sums and so on; a last one
// without a neighbour moves up. Leaves are finished one after the other, so that only sums that
// wait for their right neighbour are kept: at most log2 of the number of leaves.
template <typename T>
class GradientTree {
 public:
  // The leaf whose gradients are in `current` [size] is complete, and another one begins: `current`
  // is then an array of zeros.
  void next_leaf(TaskPool& pool, Pages<T>& current, size_t size);

  // Adds what waits to the gradients of the last leaf: `current` is then the sum of all.
  void finish(TaskPool& pool, T* current, size_t size);

 private:
  void add_last(TaskPool& pool, T* current, size_t size);

  std::vector<Pages<T>> pending_;  // sums of fewer and fewer leaves
  std::vector<Pages<T>> spare_;
  size_t leaves_ = 0;  // complete
};

// pieces[0] [size] = the sum of the pieces, each [size], in the order of such a tree. All pieces
// but the last may be overwritten.
template <typename T>
void add_pieces(const std::vector<T*>& pieces, size_t size);

}  // namespace openelm::train
