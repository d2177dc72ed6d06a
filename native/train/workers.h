#pragma once

#include <deque>
#include <vector>

#include "matmul.h"

namespace openelm::train {

// What a thread needs to work through a task on its own.
template <typename T>
struct Scratch {
  explicit Scratch(const std::atomic<bool>& cancelled) : alone(1, cancelled) {}

  TaskPool alone;
  Matmul<T> matmul{alone};
  std::vector<T> scores;   // [kQueryBlock, S]
  std::vector<T> dscores;  // [kQueryBlock, S]

  // Of the norms of DoRA.
  std::vector<T> row;        // [in], of a weight
  std::vector<double> sums;  // [rank]
};

// The threads that every op runs on, and the memory that ops share.
template <typename T>
struct Workers {
  // Ops end soon and unfinished once `cancelled` is set, which must outlive the workers.
  Workers(int threads, const std::atomic<bool>& cancelled) : pool(threads, cancelled) {
    for (int thread = 0; thread < threads; ++thread) scratch.emplace_back(cancelled);
  }

  TaskPool pool;
  const Kernels<T>& kernels = train::kernels<T>();
  Matmul<T> matmul{pool};
  std::deque<Scratch<T>> scratch;  // one per thread
  std::vector<T> partial_sums;
};

}  // namespace openelm::train
