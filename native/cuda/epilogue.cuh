#pragma once

#include "kernels.h"
#include "reduce.cuh"

namespace openelm::cuda {

// What becomes of the products of rows `row` and row + 1 of W, row being even, with token `token`.
__device__ inline void finish_pair(Epilogue epilogue, const MatrixView& w, float* y, int token,
                                   int row, float first, float second) {
  if (row >= w.rows) return;
  if (epilogue == Epilogue::kSwiglu) {
    y[size_t(token) * (w.rows / 2) + row / 2] = silu(first) * second;
    return;
  }
  float* const to = y + size_t(token) * w.rows + row;
  const bool has_second = row + 1 < w.rows;
  switch (epilogue) {
    case Epilogue::kAdd:
      to[0] += first;
      if (has_second) to[1] += second;
      break;
    case Epilogue::kSilu:
      to[0] = silu(first);
      if (has_second) to[1] = silu(second);
      break;
    default:
      to[0] = first;
      if (has_second) to[1] = second;
  }
}

}  // namespace openelm::cuda
