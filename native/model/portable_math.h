#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

// What draws and scores are computed by: exponentials, logarithms, random numbers and the choice of
// the likeliest tokens, from integers and IEEE operations in a fixed order alone. libm and the
// algorithms of the standard library differ from one platform to the next, and a seed is to give
// the same tokens on all of them.
namespace openelm {

static_assert(FLT_EVAL_METHOD == 0, "wider intermediates would change what a seed draws");

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;

// 1 / k!
inline constexpr std::array<double, 13> kInverseFactorials = [] {
  std::array<double, 13> result = {1};
  double factorial = 1;
  for (int k = 1; k < 13; ++k) result[k] = 1 / (factorial *= k);
  return result;
}();

// e^x for x <= 0, to 1e-14. Below -708 it is 0: beside the weight 1 of the likeliest token none of
// that is drawn. Loops over it are vectorised.
inline double portable_exp(double x) {
  constexpr double kRound = 0x1.8p52;           // adding it rounds to an integer, in the low bits
  constexpr double kLn2High = 0x1.62e42feep-1;  // few bits, so that its product with n is exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

  // x = n ln 2 + r with |r| <= ln(2) / 2, where the Taylor polynomial is within 2^-52 of e^r.
  const double shifted = x * (1 / kLn2) + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double power = kInverseFactorials[12];
  for (int k = 11; k >= 0; --k) power = power * r + kInverseFactorials[k];

  // Times 2^n, or 0 where the sign says x < -708: a branch would keep loops from being vectorised.
  const uint64_t bits = std::bit_cast<uint64_t>(power) + (std::bit_cast<uint64_t>(shifted) << 52);
  const int64_t underflow = std::bit_cast<int64_t>(x + 708) >> 63;
  return std::bit_cast<double>(bits & ~static_cast<uint64_t>(underflow));
}

// ln x for normal x >= 1.
inline double portable_log(double x) {
  // The bits of a double, as an integer, are within 0.09 of a linear function of its log2. Halley's
  // iteration for e^y = x triples the digits, so that two are enough.
  double y = (static_cast<double>(std::bit_cast<uint64_t>(x)) * 0x1p-52 - 1023) * kLn2;
  for (int i = 0; i < 2; ++i) {
    const double ratio = x * portable_exp(-y);
    y += 2 * (ratio - 1) / (ratio + 1);
  }
  return y;
}

// xoshiro256** by Blackman and Vigna, seeded by their splitmix64: https://prng.di.unimi.it
class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  uint64_t next() {
    auto& [a, b, c, d] = state_;
    const uint64_t result = std::rotl(b * 5, 7) * 9;
    const uint64_t shifted = b << 17;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = std::rotl(d, 45);
    return result;
  }

  // [0, 1), in steps of 2^-53
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::array<uint64_t, 4> state_;
};

// The highest score, or -infinity; NaN is passed over.
inline float max_of(const float* scores, size_t size) {
  constexpr size_t kLanes = 16;  // one running maximum would wait for itself
  std::array<float, kLanes> lanes;
  lanes.fill(kMinusInfinity);
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = scores[i + lane] > lanes[lane] ? scores[i + lane] : lanes[lane];
    }
  }
  float max = *std::max_element(lanes.begin(), lanes.end());
  for (; i < size; ++i) max = std::max(max, scores[i]);
  return max;
}

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
inline void find_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids) {
  const MoreLikely more_likely{scores};
  const auto keep_count = [&] {
    keep_most_likely(ids, more_likely, static_cast<double>(count), [](int32_t) { return 1; });
  };
  const size_t full = 2 * count + 32;
  float bar = kMinusInfinity;
  ids.clear();
  for (size_t id = 0; id < size; ++id) {
    // An equal score ranks below those that set the bar, because its id is higher.
    if (scores[id] <= bar) continue;
    ids.push_back(static_cast<int32_t>(id));
    if (ids.size() < full) continue;
    keep_count();
    bar = scores[*std::max_element(ids.begin(), ids.end(), more_likely)];
  }
  keep_count();
}

// The same in order: the most likely first, then the lowest id.
inline void rank_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids) {
  find_top(scores, size, count, ids);
  std::sort(ids.begin(), ids.end(), MoreLikely{scores});
}

// The logarithm of the sum of e^score over finite scores, of which `best` is the highest. What it
// adds and in which order depends on the scores alone.
inline double log_sum_exp(const float* scores, size_t size, double best) {
  // In two loops, for the exponentials are vectorised and the sum, whose order is fixed, is not.
  std::array<double, 256> weights;
  double sum = 0;
  for (size_t begin = 0; begin < size; begin += weights.size()) {
    const size_t count = std::min(weights.size(), size - begin);
    for (size_t i = 0; i < count; ++i) weights[i] = portable_exp(scores[begin + i] - best);
    for (size_t i = 0; i < count; ++i) sum += weights[i];
  }
  return best + portable_log(sum);
}

}  // namespace openelm
