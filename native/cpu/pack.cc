#include "pack.h"

#include <algorithm>
#include <cstring>

#include "../half.h"
#include "kernels.h"

namespace openelm {

static constexpr int kScaleBytes = kPanelRows * 2;

static int groups_of(int cols) { return (cols + kGroupSize - 1) / kGroupSize; }

static size_t group_bytes(DType dtype) {
  return kScaleBytes + kPanelRows * kGroupSize / (dtype == DType::kQ8 ? 1 : 2);
}

size_t packed_panel_bytes(int cols, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return size_t(padded_columns(cols)) * kPanelRows * 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return size_t(padded_columns(cols)) * kPanelRows * 2;
    case DType::kQ8:
    case DType::kQ4:
      break;
  }
  return size_t(groups_of(cols)) * group_bytes(dtype);
}

int packed_panels(int rows, MatrixLayout layout) {
  return layout == MatrixLayout::kGateUp ? 2 * num_panels(rows / 2) : num_panels(rows);
}

PanelPacker::PanelPacker(const TensorSource& source, DType dtype, MatrixLayout layout)
    : source_(source), dtype_(dtype), layout_(layout), reader_(source) {}

size_t PanelPacker::pack(int panel, void* to) {
  const bool gate_up = layout_ == MatrixLayout::kGateUp;
  const int half = gate_up ? source_.rows / 2 : source_.rows;
  const int begin = (gate_up ? panel / 2 : panel) * kPanelRows;
  const int first_row = begin + (gate_up && panel % 2 == 1 ? half : 0);
  const int rows = std::min(kPanelRows, half - begin);

  if (dtype_ == DType::kQ8 || dtype_ == DType::kQ4) {
    const size_t groups = size_t(source_.groups());
    values_.assign(kPanelRows * groups * kGroupSize / (dtype_ == DType::kQ8 ? 1 : 2), 0);
    scales_.assign(kPanelRows * groups, 0);
    reader_.read_quantized(dtype_, first_row, rows, values_.data(), scales_.data());
    pack_quantized(static_cast<uint8_t*>(to));
  } else {
    rows_.assign(size_t(kPanelRows) * source_.cols, 0);
    reader_.read_float(first_row, rows, rows_.data());
    pack_float(rows, to);
  }
  return (source_.row_bytes() + source_.scale_row_bytes()) * rows;
}

// Where column c of a row lies in its panel of 16-bit elements: see kernels.h.
static size_t half_index(int row, int c, DType dtype) {
  if (dtype == DType::kFloat16) return size_t(c) * kPanelRows + row;
  return size_t(c / 2) * 2 * kPanelRows + 2 * row + c % 2;
}

void PanelPacker::pack_float(int rows, void* to) {
  const int cols = source_.cols;
  auto* floats = static_cast<float*>(to);
  auto* halves = static_cast<uint16_t*>(to);
  std::memset(to, 0, packed_panel_bytes(cols, dtype_));
  halves_.resize(size_t(cols));
  for (int row = 0; row < rows; ++row) {
    const float* from = rows_.data() + size_t(row) * cols;
    if (dtype_ == DType::kFloat32) {
      for (int c = 0; c < cols; ++c) floats[size_t(c) * kPanelRows + row] = from[c];
      continue;
    }
    if (dtype_ == DType::kFloat16) {
      cpu_kernels().to_f16(from, cols, halves_.data());
    } else {
      std::transform(from, from + cols, halves_.data(), float_to_bf16);
    }
    for (int c = 0; c < cols; ++c) halves[half_index(row, c, dtype_)] = halves_[c];
  }
}

// Column i of a row's group in the logical format (quantize.h), as a code of 8 or 4 bits.
static int stored_code(const uint8_t* values, int i, DType dtype) {
  if (dtype == DType::kQ8) return values[i];
  const int byte = values[i % (kGroupSize / 2)];
  return i < kGroupSize / 2 ? byte & 15 : byte >> 4;
}

// Where the code of a row and column i lies in the packed weights of a group (kernels.h): its byte,
// and the bit at which it begins there.
static uint8_t* packed_byte(uint8_t* weights, int row, int i, DType dtype, int* shift) {
  const int pair = i / 2;
  const int lane = 2 * row + i % 2;
  *shift = dtype == DType::kQ8 ? 0 : pair % 2 * 4;
  if (dtype == DType::kQ8) return weights + pair * 2 * kPanelRows + lane;
  return weights + pair / 4 * 4 * kPanelRows + 2 * lane + pair % 4 / 2;
}

// Padding rows have scale 0, whatever their values.
void PanelPacker::pack_quantized(uint8_t* to) {
  const int groups = source_.groups();
  const int row_group_bytes = dtype_ == DType::kQ8 ? kGroupSize : kGroupSize / 2;
  for (int g = 0; g < groups; ++g, to += group_bytes(dtype_)) {
    std::memset(to, 0, group_bytes(dtype_));
    for (int row = 0; row < kPanelRows; ++row) {
      std::memcpy(to + 2 * row, &scales_[size_t(row) * groups + g], 2);
      const uint8_t* values = &values_[(size_t(row) * groups + g) * row_group_bytes];
      for (int i = 0; i < kGroupSize; ++i) {
        int shift;
        uint8_t* byte = packed_byte(to + kScaleBytes, row, i, dtype_, &shift);
        *byte |= uint8_t(stored_code(values, i, dtype_) << shift);
      }
    }
  }
}

static void unpack_quantized_row(uint8_t* panel, int lane, int cols, DType dtype, float* to) {
  for (int c = 0; c < cols; ++c) {
    uint8_t* group = panel + size_t(c / kGroupSize) * group_bytes(dtype);
    uint16_t scale;
    std::memcpy(&scale, group + 2 * lane, 2);
    int shift;
    const uint8_t byte = *packed_byte(group + kScaleBytes, lane, c % kGroupSize, dtype, &shift);
    const int code = byte >> shift;
    const int value = dtype == DType::kQ8 ? int8_t(code) : (code & 15) - 8;
    to[c] = float(value) * f16_to_float(scale);
  }
}

void unpack_row(const Matrix& matrix, int row, float* to) {
  uint8_t* panel = matrix.data.as<uint8_t>() +
                   size_t(row / kPanelRows) * packed_panel_bytes(matrix.cols, matrix.dtype);
  const int lane = row % kPanelRows;
  const auto* floats = reinterpret_cast<const float*>(panel);
  const auto* halves = reinterpret_cast<const uint16_t*>(panel);
  for (int c = 0; c < matrix.cols; ++c) {
    switch (matrix.dtype) {
      case DType::kFloat32:
        to[c] = floats[size_t(c) * kPanelRows + lane];
        break;
      case DType::kFloat16:
        to[c] = f16_to_float(halves[half_index(lane, c, matrix.dtype)]);
        break;
      case DType::kBFloat16:
        to[c] = bf16_to_float(halves[half_index(lane, c, matrix.dtype)]);
        break;
      case DType::kQ8:
      case DType::kQ4:
        return unpack_quantized_row(panel, lane, matrix.cols, matrix.dtype, to);
    }
  }
}

}  // namespace openelm
