#pragma once

#include "sequences.h"
#include "workers.h"

namespace openelm::train {

// Calls body(row, partial) for every row; the `size` values at `partial` begin as zero for each
// block of rows and are then given to add(partial), block by block.
template <typename T, typename Body, typename Add>
void sum_over_rows(Workers<T>& workers, const RowBlocks& rows, int size, const Body& body,
                   const Add& add) {
  const int blocks = int(rows.tasks.size()) - 1;
  workers.partial_sums.assign(size_t(blocks) * size, T(0));
  workers.pool.run(blocks, [&](int block, int) {
    T* partial = workers.partial_sums.data() + size_t(block) * size;
    for (int row = rows.tasks[block]; row < rows.tasks[block + 1]; ++row) body(row, partial);
  });
  for (int block = 0; block < blocks; ++block) {
    add(workers.partial_sums.data() + size_t(block) * size);
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
