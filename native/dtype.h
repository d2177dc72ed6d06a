#pragma once

#include <cstddef>
#include <cstdint>

namespace openelm {

// How the elements of a matrix are stored. kQ8 and kQ4 (quantize.h) are groups of kGroupSize
// elements along a row, the last one filled up with zeros, with one float16 scale each.
enum class DType : uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kQ8,
  kQ4,
  // The same under the names of safetensors.
  kF32 = kFloat32,
  kF16 = kFloat16,
  kBF16 = kBFloat16,
  kI8 = kQ8,
  kU8 = kQ4,
};

constexpr int kGroupSize = 32;

constexpr bool is_quantized(DType dtype) { return dtype == DType::kQ8 || dtype == DType::kQ4; }

// Of a row of `cols` elements.
constexpr int groups_of(int cols) { return (cols + kGroupSize - 1) / kGroupSize; }

// A row of `cols` elements, filled up to whole groups.
constexpr int padded_to_groups(int cols) { return groups_of(cols) * kGroupSize; }

// Of so many elements without their scales. `count` is even for kQ4.
constexpr size_t bytes_of(DType dtype, size_t count) {
  switch (dtype) {
    case DType::kFloat32:
      return count * 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return count * 2;
    case DType::kQ8:
      return count;
    case DType::kQ4:
      break;
  }
  return count / 2;
}

// A row of `cols` elements as checkpoints store it and RowReader gives it: only quantised rows are
// filled up.
constexpr size_t value_row_bytes(DType dtype, int cols) {
  return bytes_of(dtype, size_t(is_quantized(dtype) ? padded_to_groups(cols) : cols));
}

// The scales of such a row: none of a float type.
constexpr size_t scale_row_bytes(DType dtype, int cols) {
  return is_quantized(dtype) ? size_t(groups_of(cols)) * 2 : 0;
}

}  // namespace openelm
