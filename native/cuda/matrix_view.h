#pragma once

#include <cuda_fp16.h>

#include "../model/model.h"

namespace openelm::cuda {

// W [rows, cols] in device memory. A row is `stride` elements: cols, filled up with zeros to whole
// groups of 32. The scales of quantised formats follow the values.
struct MatrixView {
  const void* values = nullptr;    // [rows, stride]
  const __half* scales = nullptr;  // [rows, stride / 32]
  int rows = 0;
  int cols = 0;
  int stride = 0;
  DType dtype = DType::kFloat32;
};

inline size_t stride_bytes(DType dtype, int cols) {
  return bytes_of(dtype, padded_to_groups(cols));
}

inline MatrixView view(const Matrix& matrix) {
  MatrixView w;
  w.values = matrix.data.as<char>();
  w.scales = reinterpret_cast<const __half*>(matrix.data.as<char>() +
                                             stride_bytes(matrix.dtype, matrix.cols) * matrix.rows);
  w.rows = matrix.rows;
  w.cols = matrix.cols;
  w.stride = padded_to_groups(matrix.cols);
  w.dtype = matrix.dtype;
  return w;
}

}  // namespace openelm::cuda
