#pragma once

#include <cstdint>

namespace openelm {

// How the elements of a matrix are stored. kQ8 and kQ4 are groups of kGroupSize along the input
// axis with one float16 scale each.
enum class DType : uint8_t { kFloat32, kFloat16, kBFloat16, kQ8, kQ4 };

constexpr int kGroupSize = 32;

}  // namespace openelm
