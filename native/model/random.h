#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace openelm {

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
