#include "frozen_matrix.h"

#include <algorithm>
#include <type_traits>

#include "../convert.h"

namespace openelm::train {

template <typename T>
static void decode_floats(DType dtype, const uint8_t* from, int count, T* to) {
  if constexpr (std::is_same_v<T, float>) {
    to_float32(dtype, from, size_t(count), to);
  } else {
    float part[64];
    for (int begin = 0; begin < count; begin += 64) {
      const int size = std::min(64, count - begin);
      to_float32(dtype, from + bytes_of(dtype, size_t(begin)), size_t(size), part);
      std::copy_n(part, size, to + begin);
    }
  }
}

// Half a group at a time: in q4 its elements are all low nibbles, or all high ones.
template <typename T>
static void decode_groups(const FrozenMatrix& matrix, int row, int begin, int count, T* to) {
  constexpr int kHalf = kGroupSize / 2;
  const uint8_t* values = matrix.values + size_t(row) * value_row_bytes(matrix.dtype, matrix.cols);
  const uint16_t* scales = matrix.scales + size_t(row) * groups_of(matrix.cols);
  for (int at = begin; at < begin + count;) {
    const int size = std::min((at / kHalf + 1) * kHalf, begin + count) - at;
    const T scale = T(f16_to_float(scales[at / kGroupSize]));
    if (matrix.dtype == DType::kQ8) {
      const auto* codes = reinterpret_cast<const int8_t*>(values) + at;
      for (int i = 0; i < size; ++i) to[i] = T(codes[i]) * scale;
    } else {
      const uint8_t* pairs = values + at / kGroupSize * kHalf + at % kHalf;
      const int shift = at % kGroupSize < kHalf ? 0 : 4;
      for (int i = 0; i < size; ++i) to[i] = T((pairs[i] >> shift & 15) - 8) * scale;
    }
    to += size;
    at += size;
  }
}

template <typename T>
void FrozenMatrix::decode(int row, int begin, int count, T* to) const {
  if (is_quantized(dtype)) return decode_groups(*this, row, begin, count, to);
  const size_t offset = size_t(row) * size_t(cols) + size_t(begin);
  decode_floats(dtype, values + bytes_of(dtype, offset), count, to);
}

template void FrozenMatrix::decode(int, int, int, float*) const;
template void FrozenMatrix::decode(int, int, int, double*) const;

}  // namespace openelm::train
