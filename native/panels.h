#pragma once

#include <algorithm>
#include <cstddef>

#include "model/model.h"
#include "simd/kernels.h"

// How many panels a packed matrix has, and which rows are in which: in the memory of the CPU
// backend, and in packed checkpoints. simd/kernels.h says how a panel is filled.
namespace openelm {

constexpr int num_panels(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Panels in memory order. With MatrixLayout::kGateUp, panel 2i holds rows 16i… of the gate and
// panel 2i + 1 the same rows of the other half.
inline int packed_panels(int rows, MatrixLayout layout) {
  return layout == MatrixLayout::kGateUp ? 2 * num_panels(rows / 2) : num_panels(rows);
}

inline size_t packed_bytes(int rows, int cols, DType dtype, MatrixLayout layout) {
  return size_t(packed_panels(rows, layout)) * packed_panel_bytes(cols, dtype);
}

// The rows of a matrix that a panel holds: at most kPanelRows.
struct PanelRows {
  int first;
  int count;
};
inline PanelRows rows_of_panel(int panel, int rows, MatrixLayout layout) {
  const bool gate_up = layout == MatrixLayout::kGateUp;
  const int half = gate_up ? rows / 2 : rows;
  const int begin = (gate_up ? panel / 2 : panel) * kPanelRows;
  return {begin + (gate_up && panel % 2 == 1 ? half : 0), std::min(kPanelRows, half - begin)};
}

}  // namespace openelm
