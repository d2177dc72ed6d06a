#include "random_normal.h"

#include <cmath>

namespace openelm {

// The output function of splitmix64 (Steele, Lea and Flood, 2014).
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// Box and Muller: elements 2k and 2k + 1 are the two coordinates of a point at a random angle.
void random_normal(uint64_t seed, uint64_t stream, uint64_t begin, uint64_t end, double std,
                   float* to) {
  constexpr double kTwoPi = 6.283185307179586;
  const uint64_t key = mix(mix(seed) ^ stream);
  for (uint64_t pair = begin / 2; 2 * pair < end; ++pair) {
    const double radius_uniform = double((mix(key ^ 2 * pair) >> 11) + 1) * 0x1p-53;  // (0, 1]
    const double angle_uniform = double(mix(key ^ (2 * pair + 1)) >> 11) * 0x1p-53;
    const double radius = std * std::sqrt(-2 * std::log(radius_uniform));
    const double angle = kTwoPi * angle_uniform;
    if (2 * pair >= begin) to[2 * pair - begin] = float(radius * std::cos(angle));
    if (2 * pair + 1 >= begin && 2 * pair + 1 < end) {
      to[2 * pair + 1 - begin] = float(radius * std::sin(angle));
    }
  }
}

}  // namespace openelm
