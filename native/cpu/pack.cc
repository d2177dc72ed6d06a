#include "pack.h"

#include <cstring>

#include "../dtype.h"
#include "../simd/kernels.h"

namespace openelm::cpu {

std::vector<uint8_t> pack_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                 int threads, LoadProgress& progress) {
  std::vector<uint8_t> packed(packed_bytes(source.rows, source.cols, dtype, layout));
  ThreadPool pool(threads);
  pack_panels(source, dtype, layout, pool, progress, packed.data());
  return packed;
}

void pack_panels(const TensorSource& source, DType dtype, MatrixLayout layout, ThreadPool& pool,
                 LoadProgress& progress, void* to) {
  const size_t panel_bytes = packed_panel_bytes(source.cols, dtype);
  std::vector<PanelPacker> packers(pool.threads(), PanelPacker(source, dtype, layout));
  pool.run_throwing(packed_panels(source.rows, layout), [&](int panel, int thread) {
    progress.check();
    progress.add(packers[thread].pack(panel, static_cast<char*>(to) + panel * panel_bytes));
  });
}

PanelPacker::PanelPacker(const TensorSource& source, DType dtype, MatrixLayout layout)
    : source_(source), dtype_(dtype), layout_(layout), reader_(source) {}

size_t PanelPacker::pack(int panel, void* to) {
  const auto [first_row, rows] = rows_of_panel(panel, source_.rows, layout_);
  if (is_quantized(dtype_)) {
    pack_quantized(first_row, rows, static_cast<uint8_t*>(to));
  } else {
    pack_float(first_row, rows, to);
  }
  return (source_.row_bytes() + source_.scale_row_bytes()) * rows;
}

// to[i * kPanelRows + row] = element i of each row.
template <typename Element>
static void interleave(const uint8_t* from, size_t row_bytes, int rows, int size, void* to) {
  auto* element = static_cast<Element*>(to);
  for (int i = 0; i < size; ++i, element += kPanelRows) {
    for (int row = 0; row < rows; ++row) {
      std::memcpy(element + row, from + row * row_bytes + i * sizeof(Element), sizeof(Element));
    }
  }
}

void pack_float32(const float* values, const Matrix& to, MatrixLayout layout) {
  const size_t row_bytes = to.cols * sizeof(float);
  const size_t panel_bytes = packed_panel_bytes(to.cols, DType::kFloat32);
  for (int panel = 0; panel < packed_panels(to.rows, layout); ++panel) {
    const auto [first, count] = rows_of_panel(panel, to.rows, layout);
    const auto* from = reinterpret_cast<const uint8_t*>(values) + first * row_bytes;
    interleave<uint32_t>(from, row_bytes, count, to.cols, to.data.as<char>() + panel * panel_bytes);
  }
}

// kernels.h says where it is.
float packed_element(const uint8_t* panel, int row, int c, DType dtype) {
  const auto half = [](const uint8_t* from, size_t index) {
    uint16_t value;
    std::memcpy(&value, from + 2 * index, sizeof value);
    return value;
  };
  const auto in_pairs = [row](int i) { return size_t(i / 2) * 2 * kPanelRows + 2 * row + i % 2; };
  const size_t in_columns = size_t(c) * kPanelRows + row;
  if (dtype == DType::kFloat32) return reinterpret_cast<const float*>(panel)[in_columns];
  if (dtype == DType::kFloat16) return f16_to_float(half(panel, in_columns));
  if (dtype == DType::kBFloat16) return bf16_to_float(half(panel, in_pairs(c)));

  const uint8_t* group = panel + size_t(c / kGroupSize) * packed_group_bytes(dtype);
  const uint8_t* weights = group + kScaleBytes;
  const float scale = f16_to_float(half(group, row));
  const int i = c % kGroupSize;
  if (dtype == DType::kQ8) return float(int8_t(weights[in_pairs(i)])) * scale;
  const int quad = weights[i / 8 * 4 * kPanelRows + 2 * (2 * row + i % 2) + i % 8 / 4];
  return float(((quad >> (i / 2 % 2 * 4)) & 15) - 8) * scale;
}

void PanelPacker::pack_float(int first_row, int rows, void* to) {
  const int cols = source_.cols;
  const size_t row_bytes = bytes_of(dtype_, cols);
  values_.resize(kPanelRows * row_bytes);
  if (dtype_ == DType::kFloat32) {
    reader_.read_float(first_row, rows, reinterpret_cast<float*>(values_.data()));
    return interleave<uint32_t>(values_.data(), row_bytes, rows, cols, to);
  }
  reader_.read_half(dtype_, first_row, rows, reinterpret_cast<uint16_t*>(values_.data()));
  if (dtype_ == DType::kFloat16) {
    return interleave<uint16_t>(values_.data(), row_bytes, rows, cols, to);
  }
  interleave<uint32_t>(values_.data(), row_bytes, rows, cols / 2, to);
  if (cols % 2 == 0) return;
  auto* last_pairs = static_cast<uint8_t*>(to) + size_t(cols / 2) * kPanelRows * 4;
  for (int row = 0; row < rows; ++row) {
    std::memcpy(last_pairs + row * 4, &values_[(row + 1) * row_bytes - 2], 2);
  }
}

// The 16 bytes of a group of q4, from the order of quantize.h to that of a panel: four bytes for
// each 8 columns, the even ones before the odd ones, neighbours of a kind in one byte.
static void pair_nibbles(uint8_t* group) {
  uint64_t halves[2];
  std::memcpy(halves, group, sizeof halves);
  constexpr uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f;
  for (int eight = 0; eight < 4; ++eight) {
    const uint64_t nibbles = (halves[eight % 2] >> (eight < 2 ? 0 : 4)) & kNibbles;
    const uint64_t pairs = nibbles | nibbles >> 12;  // bytes 0, 1, 4 and 5: columns i and i + 2
    const auto bytes = uint32_t((pairs & 0xff) | (pairs >> 24 & 0xff00) | (pairs << 8 & 0xff0000) |
                                (pairs >> 16 & 0xff000000));
    std::memcpy(group + 4 * eight, &bytes, sizeof bytes);
  }
}

void PanelPacker::pack_quantized(int first_row, int rows, uint8_t* to) {
  const size_t groups = size_t(source_.groups());
  const size_t row_group_bytes = bytes_of(dtype_, kGroupSize);
  const size_t row_bytes = groups * row_group_bytes;
  values_.resize(kPanelRows * row_bytes);
  scales_.resize(kPanelRows * groups);
  reader_.read_quantized(dtype_, first_row, rows, values_.data(), scales_.data());
  if (dtype_ == DType::kQ4) {
    for (size_t i = 0; i < rows * row_bytes; i += row_group_bytes) pair_nibbles(&values_[i]);
  }
  const auto* scales = reinterpret_cast<const uint8_t*>(scales_.data());
  for (size_t g = 0; g < groups; ++g, to += packed_group_bytes(dtype_)) {
    interleave<uint16_t>(scales + 2 * g, 2 * groups, rows, 1, to);
    const uint8_t* values = &values_[g * row_group_bytes];
    if (dtype_ == DType::kQ8) {
      interleave<uint16_t>(values, row_bytes, rows, kGroupSize / 2, to + kScaleBytes);
    } else {
      interleave<uint32_t>(values, row_bytes, rows, kGroupSize / 8, to + kScaleBytes);
    }
  }
}

}  // namespace openelm::cpu
