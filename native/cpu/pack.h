#pragma once

#include <cstdint>
#include <vector>

#include "../model/model.h"
#include "../model/tensor_source.h"
#include "../panels.h"
#include "../simd/thread_pool.h"

namespace openelm::cpu {

// The packing that panels.h and kernels.h describe.

// Column c of a row of a packed panel.
float packed_element(const uint8_t* panel, int row, int c, DType dtype);

// Packs float32 values [rows, cols] as a float32 matrix, into zeros.
void pack_float32(const float* values, const Matrix& to, MatrixLayout layout);

// Reads a matrix and packs it, into packed_bytes() of zeros. Throws what RowReader does, and
// Error{kAborted}.
void pack_panels(const TensorSource& source, DType dtype, MatrixLayout layout, ThreadPool& pool,
                 LoadProgress& progress, void* to);

// The same into memory of its own, on so many threads. Throws std::system_error where they cannot
// be started.
std::vector<uint8_t> pack_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                 int threads, LoadProgress& progress);

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
