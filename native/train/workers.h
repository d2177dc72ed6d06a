#pragma once

#include <vector>

#include "matmul.h"

namespace openelm::train {

// What a thread needs to work through a task of attention on its own.
template <typename T>
struct Scratch {
  ThreadPool alone{1};
  Matmul<T> matmul{alone};
  std::vector<T> scores;   // [kQueryBlock, S]
  std::vector<T> dscores;  // [kQueryBlock, S]
};

// The threads that every op runs on, and the memory that ops share.
template <typename T>
struct Workers {
  explicit Workers(int threads) : pool(threads), scratch(threads) {}

  ThreadPool pool;
  const Kernels<T>& kernels = train::kernels<T>();
  Matmul<T> matmul{pool};
  std::vector<Scratch<T>> scratch;
  std::vector<T> partial_sums;
};

}  // namespace openelm::train
