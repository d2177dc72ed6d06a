#include "pack.h"

#include <cstring>

#include "../half.h"

namespace openelm::metal {

static size_t groups_of(int cols) { return size_t(cols + kGroupSize - 1) / kGroupSize; }

static size_t group_bytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return kGroupSize * 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return kGroupSize * 2;
    case DType::kQ8:
      return kGroupSize;
    case DType::kQ4:
      break;
  }
  return kGroupSize / 2;
}

size_t row_bytes(int cols, DType dtype) { return groups_of(cols) * group_bytes(dtype); }

size_t values_bytes(int rows, int cols, DType dtype) {
  return size_t(rows) * row_bytes(cols, dtype);
}

size_t matrix_bytes(int rows, int cols, DType dtype) {
  const bool quantized = dtype == DType::kQ8 || dtype == DType::kQ4;
  return values_bytes(rows, cols, dtype) + (quantized ? rows * groups_of(cols) * 2 : 0);
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
  const size_t groups = groups_of(cols);
  const size_t stride = row_bytes(cols, dtype);
  auto* scales =
      reinterpret_cast<uint16_t*>(static_cast<char*>(to) + values_bytes(source.rows, cols, dtype));
  RowReader reader(source);
  std::vector<float> floats(cols);
  std::vector<uint8_t> nibbles(groups * kGroupSize / 2);
  for (int row = begin; row < end; ++row) {
    const int from = layout == MatrixLayout::kPlain ? row : row / 2 + row % 2 * (source.rows / 2);
    auto* bytes = static_cast<uint8_t*>(to) + row * stride;
    auto* halves = reinterpret_cast<uint16_t*>(bytes);
    switch (dtype) {
      case DType::kFloat32:
        reader.read_float(from, 1, reinterpret_cast<float*>(bytes));
        break;
      case DType::kFloat16:
        reader.read_float(from, 1, floats.data());
        for (int i = 0; i < cols; ++i) halves[i] = float_to_f16(floats[i]);
        break;
      case DType::kBFloat16:
        reader.read_float(from, 1, floats.data());
        for (int i = 0; i < cols; ++i) halves[i] = float_to_bf16(floats[i]);
        break;
      case DType::kQ8:
        reader.read_quantized(dtype, from, 1, bytes, scales + row * groups);
        break;
      case DType::kQ4:
        reader.read_quantized(dtype, from, 1, nibbles.data(), scales + row * groups);
        for (size_t g = 0; g < groups; ++g) {
          repack_q4_group(&nibbles[g * kGroupSize / 2], bytes + g * kGroupSize / 2);
        }
        break;
    }
  }
}

}  // namespace openelm::metal
