#pragma once

#include <cstdint>

#include "sequences.h"
#include "workers.h"

namespace openelm::train {

// Which elements of the inputs of adapters are zeroed in a call. Drawn from counters, never from a
// sequential generator: an element's lot depends on the seed, the step, the example in the step,
// the position, the target and the column, whatever is computed together and by which threads.
struct Dropout {
  double probability = 0;
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t first_example = 0;  // of the call, in the step
  const Sequences* sequences = nullptr;

  bool none() const { return probability == 0; }
};

// to = x, where each element is zero with the probability p, and else 1 / (1 - p) times as large.
template <typename T>
void drop(Workers<T>&, const Dropout&, int target, const T* x, int rows, int cols, T* to);
// to += the same of x.
template <typename T>
void drop_add(Workers<T>&, const Dropout&, int target, const T* x, int rows, int cols, T* to);

}  // namespace openelm::train
