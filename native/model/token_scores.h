#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace openelm {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// The highest score, or -infinity; NaN is passed over.
float max_of(const float* scores, size_t size);

// The rank of tokens, a total order.
struct MoreLikely {
  const float* scores;
  bool operator()(int32_t a, int32_t b) const {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  }
};

// Drops all but the smallest set of most likely tokens whose mass reaches the target. This is
// quickselect, ours because the order in which std::nth_element leaves the ids, and so the rounding
// of sums over them, is up to each standard library.
template <typename Mass>
void keep_most_likely(std::vector<int32_t>& ids, MoreLikely more_likely, double target, Mass mass) {
  size_t begin = 0;
  size_t end = ids.size();
  while (begin < end) {
    std::swap(ids[begin], ids[begin + (end - begin) / 2]);
    const int32_t pivot = ids[begin];
    size_t middle = begin + 1;
    for (size_t i = middle; i < end; ++i) {
      const int32_t id = ids[i];
      ids[i] = ids[middle];
      ids[middle] = id;
      middle += more_likely(id, pivot);
    }
    std::swap(ids[begin], ids[--middle]);

    double above = 0;
    for (size_t i = begin; i < middle; ++i) above += mass(ids[i]);
    if (above >= target) {
      end = middle;
    } else {
      begin = middle + 1;
      target -= above + mass(pivot);
    }
  }
  ids.resize(end);
}

// The most likely of the tokens whose scores are finite, at most `count`, in no particular order.
// Scores are finite or -infinity.
void find_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids);

// The same in order: the most likely first, then the lowest id.
void rank_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids);

// The logarithm of the sum of e^score over finite scores, of which `best` is the highest. What it
// adds and in which order depends on the scores alone.
double log_sum_exp(const float* scores, size_t size, double best);

}  // namespace openelm
