#include "pack.h"

namespace openelm::metal {

size_t row_bytes(int cols, DType dtype) { return bytes_of(dtype, padded_to_groups(cols)); }

size_t values_bytes(int rows, int cols, DType dtype) {
  return size_t(rows) * row_bytes(cols, dtype);
}

size_t matrix_bytes(int rows, int cols, DType dtype) {
  return values_bytes(rows, cols, dtype) + rows * scale_row_bytes(dtype, cols);
}

// From column j beside column j + 16 to words of eight columns, the first four in the low nibbles.
static void repack_q4_group(const uint8_t* from, uint8_t* to) {
  const auto column = [&](int j) { return j < 16 ? from[j] & 15 : from[j - 16] >> 4; };
  for (int i = 0; i < kGroupSize / 2; ++i) {
    const int first = i / 4 * 8 + i % 4;
    to[i] = uint8_t(column(first) | column(first + 4) << 4);
  }
}

void pack_rows(const TensorSource& source, DType dtype, MatrixLayout layout, int begin, int end,
               void* to) {
  const int cols = source.cols;
  const size_t groups = size_t(groups_of(cols));
  const size_t stride = row_bytes(cols, dtype);
  auto* scales =
      reinterpret_cast<uint16_t*>(static_cast<char*>(to) + values_bytes(source.rows, cols, dtype));
  RowReader reader(source);
  std::vector<uint8_t> nibbles(groups * kGroupSize / 2);
  for (int row = begin; row < end; ++row) {
    const int from = layout == MatrixLayout::kPlain ? row : row / 2 + row % 2 * (source.rows / 2);
    auto* bytes = static_cast<uint8_t*>(to) + row * stride;
    if (dtype != DType::kQ4) {
      reader.read(dtype, from, 1, bytes, scales + row * groups);
      continue;
    }
    reader.read_quantized(dtype, from, 1, nibbles.data(), scales + row * groups);
    for (size_t g = 0; g < groups; ++g) {
      repack_q4_group(&nibbles[g * kGroupSize / 2], bytes + g * kGroupSize / 2);
    }
  }
}

}  // namespace openelm::metal
