#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "matmul.h"

namespace openelm::train {

// Rows that one task takes of an op that works row by row.
constexpr int kRowBlock = 64;

// Where rows are cut for sums over them: nowhere across two sequences, so that the order of a sum
// does not depend on which sequences are computed together. Each list ends with the end.
struct RowBlocks {
  // `begins` of the sequences, or of parts of them that are multiples of kDepth long; and the end.
  explicit RowBlocks(const std::vector<int>& begins)
      : tasks(cut(begins, kRowBlock)), depths(cut(begins, kDepth)) {}

  int rows() const { return tasks.back(); }

  std::vector<int> tasks;   // of at most kRowBlock rows
  std::vector<int> depths;  // of at most kDepth rows

 private:
  static std::vector<int> cut(const std::vector<int>& begins, int most) {
    std::vector<int> result;
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      for (int begin = begins[i]; begin < begins[i + 1]; begin += most) result.push_back(begin);
    }
    result.push_back(begins.back());
    return result;
  }
};

// The sequences of a call, end to end and of any lengths. Each has its own positions, and sees
// nothing of the others.
class Sequences {
 public:
  Sequences() : Sequences(std::vector<int32_t>{}) {}
  explicit Sequences(const std::vector<int32_t>& lengths)
      : begins_(begins_of(lengths)), blocks_(begins_) {
    for (int i = 0; i < count(); ++i) {
      for (int position = 0; position < length(i); ++position) {
        sequences_.push_back(i);
        positions_.push_back(position);
      }
    }
  }

  int count() const { return int(begins_.size()) - 1; }
  int rows() const { return begins_.back(); }
  int begin(int sequence) const { return begins_[sequence]; }
  int length(int sequence) const { return begins_[sequence + 1] - begins_[sequence]; }
  int longest() const {
    int result = 0;
    for (int i = 0; i < count(); ++i) result = std::max(result, length(i));
    return result;
  }
  // Of a row.
  int sequence(int row) const { return sequences_[row]; }
  int position(int row) const { return positions_[row]; }

  const RowBlocks& blocks() const { return blocks_; }

 private:
  static std::vector<int> begins_of(const std::vector<int32_t>& lengths) {
    std::vector<int> begins = {0};
    for (int32_t length : lengths) begins.push_back(begins.back() + length);
    return begins;
  }

  std::vector<int> begins_;  // [B + 1]
  RowBlocks blocks_;
  std::vector<int> sequences_;  // [T]
  std::vector<int> positions_;  // [T]
};

}  // namespace openelm::train
