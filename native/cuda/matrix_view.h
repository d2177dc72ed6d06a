#pragma once

#include <cuda_fp16.h>

#include "../model/weights.h"

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

inline int padded_cols(int cols) { return (cols + kGroupSize - 1) / kGroupSize * kGroupSize; }

inline size_t value_row_bytes(DType dtype, int cols) {
  const size_t stride = size_t(padded_cols(cols));
  switch (dtype) {
    case DType::kFloat32:
      return stride * 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return stride * 2;
    case DType::kQ8:
      return stride;
    case DType::kQ4:
      break;
  }
  return stride / 2;
}

inline bool is_quantized(DType dtype) { return dtype == DType::kQ8 || dtype == DType::kQ4; }

inline size_t scale_row_bytes(DType dtype, int cols) {
  return is_quantized(dtype) ? size_t(padded_cols(cols)) / kGroupSize * sizeof(__half) : 0;
}

inline MatrixView view(const Matrix& matrix) {
  MatrixView w;
  w.values = matrix.data.as<char>();
  w.scales = reinterpret_cast<const __half*>(
      matrix.data.as<char>() + value_row_bytes(matrix.dtype, matrix.cols) * matrix.rows);
  w.rows = matrix.rows;
  w.cols = matrix.cols;
  w.stride = padded_cols(matrix.cols);
  w.dtype = matrix.dtype;
  return w;
}

}  // namespace openelm::cuda
