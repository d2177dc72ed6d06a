#pragma once

#include <array>
#include <bit>
#include <cfloat>
#include <cstdint>

// Exponentials, logarithms and random numbers from integers and IEEE operations alone, because libm
// differs from one platform to the next, and a seed is to give the same tokens on all of them.
namespace openelm {

static_assert(FLT_EVAL_METHOD == 0, "wider intermediates would change what a seed draws");

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

}  // namespace openelm
