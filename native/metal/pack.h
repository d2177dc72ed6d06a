#pragma once

#include "../model/model.h"
#include "../model/tensor_source.h"

namespace openelm::metal {

// How matrix.h finds a matrix: the values of all rows, each row padded with zeros to whole groups
// of 32, then the scales of all groups. With MatrixLayout::kGateUp rows are gate, up, gate, up
// and so on.

size_t row_bytes(int cols, DType dtype);  // of values
size_t values_bytes(int rows, int cols, DType dtype);
size_t matrix_bytes(int rows, int cols, DType dtype);

// Packs rows [begin, end), as they stand in `to`, which is all of the matrix, zeroed.
void pack_rows(const TensorSource& source, DType dtype, MatrixLayout layout, int begin, int end,
               void* to);

}  // namespace openelm::metal
