#pragma once

#include <cstring>
#include <vector>

#include "row_blocks.h"

namespace openelm::train {

// Rows that have a target: only they need logits. A part of all, whose logits are in memory
// together, made of whole blocks of the inner dimension of a product.
class HeadRows {
 public:
  HeadRows(std::vector<int> rows, std::vector<int32_t> targets, const std::vector<int>& begins)
      : rows_(std::move(rows)), targets_(std::move(targets)), blocks_(begins) {}

  int count() const { return int(rows_.size()); }
  int row(int i) const { return rows_[i]; }
  const int32_t* targets() const { return targets_.data(); }
  const RowBlocks& blocks() const { return blocks_; }

  // to[i] = from[row(i)], of rows of so many columns; and back.
  template <typename T>
  void gather(Workers<T>& workers, const T* from, int cols, T* to) const {
    for_rows(workers, count(), [&](int i) {
      std::memcpy(to + size_t(i) * cols, from + size_t(rows_[i]) * cols, cols * sizeof(T));
    });
  }
  template <typename T>
  void scatter(Workers<T>& workers, const T* from, int cols, T* to) const {
    for_rows(workers, count(), [&](int i) {
      std::memcpy(to + size_t(rows_[i]) * cols, from + size_t(i) * cols, cols * sizeof(T));
    });
  }

 private:
  std::vector<int> rows_;
  std::vector<int32_t> targets_;
  RowBlocks blocks_;
};

// All rows with a target of 0 or more, at most `most` at a time.
inline std::vector<HeadRows> head_rows(const Sequences& sequences,
                                       const std::vector<int32_t>& targets, int most) {
  std::vector<HeadRows> result;
  std::vector<int> rows, begins = {0};
  std::vector<int32_t> kept;
  const auto end_part = [&] {
    if (!rows.empty()) result.emplace_back(std::move(rows), std::move(kept), begins);
    rows.clear();
    kept.clear();
    begins = {0};
  };
  for (int i = 0; i < sequences.count(); ++i) {
    std::vector<int> own;
    for (int row = sequences.begin(i); row < sequences.begin(i) + sequences.length(i); ++row) {
      if (targets[row] >= 0) own.push_back(row);
    }
    for (size_t begin = 0; begin < own.size(); begin += kDepth) {
      const size_t end = std::min(begin + kDepth, own.size());
      if (rows.size() + (end - begin) > size_t(most)) end_part();
      for (size_t k = begin; k < end; ++k) {
        rows.push_back(own[k]);
        kept.push_back(targets[own[k]]);
      }
      begins.push_back(int(rows.size()));
    }
  }
  end_part();
  return result;
}

}  // namespace openelm::train
