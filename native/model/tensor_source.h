#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../dtype.h"
#include "../error.h"
#include "../file.h"
#include "../panels.h"
#include "model.h"

namespace openelm {

DType parse_dtype(const std::string& name);

// A tensor as bytes of a checkpoint file. A quantised matrix (the formats of quantize.h) has its
// values here and its scales at `scales_offset` of `scales_file`. In a packed checkpoint a matrix
// is its panels (panels.h), with the scales inside.
struct TensorSource {
  std::string name;
  std::shared_ptr<const File> file;
  uint64_t offset = 0;
  std::shared_ptr<const File> scales_file;
  uint64_t scales_offset = 0;
  DType format = DType::kFloat32;
  int rows = 0;  // 1 for a vector
  int cols = 0;
  std::optional<MatrixLayout> panels;  // of a packed one

  int groups() const { return groups_of(cols); }
  bool quantized() const { return is_quantized(format); }
  size_t row_bytes() const { return value_row_bytes(format, cols); }
  size_t scale_row_bytes() const { return openelm::scale_row_bytes(format, cols); }
  size_t bytes() const {
    if (panels) return packed_bytes(rows, cols, format, *panels);
    return (row_bytes() + scale_row_bytes()) * rows;
  }
};

// Counts the bytes that have been read, for onProgress, and tells readers to stop. Any thread may
// add and cancel.
class LoadProgress {
 public:
  LoadProgress(uint64_t total_bytes, std::function<void(uint64_t, uint64_t)> report)
      : total_bytes_(total_bytes), report_(std::move(report)) {}
  void add(uint64_t bytes);
  void check() const;  // throws Error{kAborted} after cancel()
  void cancel() { cancelled_ = true; }

 private:
  const uint64_t total_bytes_;
  const std::function<void(uint64_t, uint64_t)> report_;
  std::atomic<uint64_t> loaded_bytes_{0};
  std::atomic<bool> cancelled_{false};
};

// Reads rows of a tensor in the form that a backend packs. It holds the scratch memory that this
// takes, so each thread has its own. Errors are those of File::read, and what each method adds.
class RowReader {
 public:
  // Throws Error{kInvalidArgument} for a packed tensor, which has no rows.
  explicit RowReader(const TensorSource& source);

  // In any dtype: by one of the methods below.
  // values [count, value_row_bytes()], scales [count, groups] of a quantised dtype.
  void read(DType dtype, int first_row, int count, void* values, uint16_t* scales);

  // x [count, cols]; quantised rows are dequantised.
  void read_float(int first_row, int count, float* x);

  // The same in a 16-bit type (kFloat16 or kBFloat16), rounded to nearest even.
  void read_half(DType dtype, int first_row, int count, uint16_t* x);

  // Rows of the quantised format `dtype` (kQ8 or kQ4): as they are stored when the source has that
  // format, otherwise quantised now; a value or scale that is not finite is
  // Error{kInvalidCheckpoint}.
  // values [count, groups * 32 or 16 bytes], scales [count, groups]
  void read_quantized(DType dtype, int first_row, int count, uint8_t* values, uint16_t* scales);

 private:
  Error not_finite(int row) const;

  const TensorSource& source_;
  std::vector<uint8_t> raw_;
  std::vector<uint16_t> raw_scales_;
  std::vector<float> row_;
};

// A matrix in the quantised format `dtype`, in memory. Throws what RowReader::read_quantized does,
// for the first row that fails, and std::system_error where threads cannot be started.
struct QuantizedMatrix {
  std::vector<uint8_t> values;   // [rows, value_row_bytes()]
  std::vector<uint16_t> scales;  // [rows, groups]
};
QuantizedMatrix quantize_matrix(const TensorSource& source, DType dtype, int threads,
                                const LoadProgress& progress);

}  // namespace openelm
