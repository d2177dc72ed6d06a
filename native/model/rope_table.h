#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace openelm {

// The cosines and sines of the angles by which RoPE turns the pairs (j, j + h/2) of a head, at the
// positions 0, 1, …: position * rope_freq_constant^(-2j/h). In double precision, whatever T is: at
// position 2000 a float32 angle is off by 1e-4.
template <typename T>
class RopeTable {
 public:
  RopeTable() = default;
  RopeTable(int positions, int head_dim, double rope_freq_constant) {
    for (int j = 0; j < head_dim / 2; ++j) {
      frequencies_.push_back(std::pow(rope_freq_constant, -2.0 * j / head_dim));
    }
    extend(positions);
  }

  int positions() const { return positions_; }

  // [h/2] each, for a position below positions().
  const T* cos(int position) const { return cos_.data() + at(position); }
  const T* sin(int position) const { return sin_.data() + at(position); }

  // Makes it at least so long.
  void extend(int positions) {
    if (positions <= positions_) return;
    cos_.resize(at(positions));
    sin_.resize(at(positions));
    for (; positions_ < positions; ++positions_) {
      for (size_t j = 0; j < frequencies_.size(); ++j) {
        const double angle = positions_ * frequencies_[j];
        cos_[at(positions_) + j] = T(std::cos(angle));
        sin_[at(positions_) + j] = T(std::sin(angle));
      }
    }
  }

 private:
  size_t at(int position) const { return size_t(position) * frequencies_.size(); }

  std::vector<double> frequencies_;  // [h/2]
  std::vector<T> cos_;               // [positions, h/2]
  std::vector<T> sin_;
  int positions_ = 0;
};

}  // namespace openelm
