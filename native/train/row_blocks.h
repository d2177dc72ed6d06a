#pragma once

#include <algorithm>

#include "workers.h"

namespace openelm::train {

// Rows that one task takes of an op that works row by row.
constexpr int kRowBlock = 64;

// Calls body(row, partial) for every row; the `size` values at `partial` begin as zero for each
// block of rows and are added up in sums[0..size), block by block.
template <typename T, typename Body>
void sum_over_rows(Workers<T>& workers, int rows, int size, T* sums, const Body& body) {
  const int blocks = (rows + kRowBlock - 1) / kRowBlock;
  workers.partial_sums.assign(size_t(blocks) * size, T(0));
  workers.pool.run(blocks, [&](int block, int) {
    T* partial = workers.partial_sums.data() + size_t(block) * size;
    const int end = std::min((block + 1) * kRowBlock, rows);
    for (int row = block * kRowBlock; row < end; ++row) body(row, partial);
  });
  for (int block = 0; block < blocks; ++block) {
    const T* partial = workers.partial_sums.data() + size_t(block) * size;
    for (int i = 0; i < size; ++i) sums[i] += partial[i];
  }
}

template <typename T, typename Body>
void for_rows(Workers<T>& workers, int rows, const Body& body) {
  workers.pool.run((rows + kRowBlock - 1) / kRowBlock, [&](int block, int) {
    const int end = std::min((block + 1) * kRowBlock, rows);
    for (int row = block * kRowBlock; row < end; ++row) body(row);
  });
}

}  // namespace openelm::train
