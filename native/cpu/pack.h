#pragma once

#include "../model/model.h"
#include "../model/tensor_source.h"

namespace openelm::cpu {

// The packing that kernels.h describes.

constexpr int num_panels(int rows) { return (rows + 15) / 16; }

// Panels in memory order. With MatrixLayout::kGateUp, panel 2i holds rows 16i… of the gate and
// panel 2i + 1 the same rows of the other half.
int packed_panels(int rows, MatrixLayout layout);

// The rows of a matrix that a panel holds: at most kPanelRows.
struct PanelRows {
  int first;
  int count;
};
PanelRows rows_of_panel(int panel, int rows, MatrixLayout layout);

// Column c of a row of a packed panel.
float packed_element(const uint8_t* panel, int row, int c, DType dtype);

// Packs float32 values [rows, cols] as a float32 matrix, into zeros.
void pack_float32(const float* values, const Matrix& to, MatrixLayout layout);

// Reads the rows of one panel and packs them. Panels can be packed from several threads, each with
// a PanelPacker of its own.
class PanelPacker {
 public:
  PanelPacker(const TensorSource& source, DType dtype, MatrixLayout layout);

  // Writes into packed_panel_bytes() of zeros and returns how many bytes of the source that took.
  size_t pack(int panel, void* to);

 private:
  void pack_float(int first_row, int rows, void* to);
  void pack_quantized(int first_row, int rows, uint8_t* to);

  const TensorSource& source_;
  const DType dtype_;
  const MatrixLayout layout_;
  RowReader reader_;
  std::vector<uint8_t> values_;   // [16, bytes of a row in the format of the panel]
  std::vector<uint16_t> scales_;  // [16, groups]
};

}  // namespace openelm::cpu
