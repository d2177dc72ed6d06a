#include "tensor_source.h"

#include <algorithm>

#include "../convert.h"
#include "../error.h"
#include "../quantize.h"
#include "../simd/thread_pool.h"

namespace openelm {

void LoadProgress::add(uint64_t bytes) {
  const uint64_t loaded = loaded_bytes_ += bytes;
  if (report_) report_(loaded, total_bytes_);
}

void LoadProgress::check() const {
  if (cancelled_) throw Error(ErrorCode::kAborted, "the load was aborted");
}

DType parse_dtype(const std::string& name) {
  if (name == "float32") return DType::kFloat32;
  if (name == "float16") return DType::kFloat16;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "q8") return DType::kQ8;
  if (name == "q4") return DType::kQ4;
  throw Error(ErrorCode::kInvalidArgument, "unknown dtype " + name);
}

RowReader::RowReader(const TensorSource& source) : source_(source) {
  if (!source.panels) return;
  throw Error(ErrorCode::kInvalidArgument,
              "tensor " + source.name + " is packed for the cpu backend, in its own dtype");
}

void RowReader::read(DType dtype, int first_row, int count, void* values, uint16_t* scales) {
  switch (dtype) {
    case DType::kFloat32:
      return read_float(first_row, count, static_cast<float*>(values));
    case DType::kFloat16:
    case DType::kBFloat16:
      return read_half(dtype, first_row, count, static_cast<uint16_t*>(values));
    case DType::kQ8:
    case DType::kQ4:
      return read_quantized(dtype, first_row, count, static_cast<uint8_t*>(values), scales);
  }
}

void RowReader::read_float(int first_row, int count, float* x) {
  const size_t row_bytes = source_.row_bytes();
  const size_t cols = size_t(source_.cols);
  const uint64_t offset = source_.offset + uint64_t(first_row) * row_bytes;
  if (source_.format == DType::kFloat32) {
    return source_.file->read(offset, row_bytes * count, x);
  }
  raw_.resize(row_bytes * count);
  source_.file->read(offset, raw_.size(), raw_.data());
  if (source_.quantized()) {
    raw_scales_.resize(size_t(source_.groups()) * count);
    source_.scales_file->read(source_.scales_offset + first_row * source_.scale_row_bytes(),
                              raw_scales_.size() * 2, raw_scales_.data());
  }
  for (int row = 0; row < count; ++row) {
    const uint8_t* raw = raw_.data() + row * row_bytes;
    const uint16_t* scales = raw_scales_.data() + size_t(row) * source_.groups();
    float* to = x + row * cols;
    if (source_.format == DType::kQ8) {
      dequantize_q8_row(reinterpret_cast<const int8_t*>(raw), scales, source_.cols, to);
    } else if (source_.format == DType::kQ4) {
      dequantize_q4_row(raw, scales, source_.cols, to);
    } else {
      to_float32(source_.format, raw, cols, to);
    }
  }
}

void RowReader::read_half(DType dtype, int first_row, int count, uint16_t* x) {
  if (source_.format == dtype) {
    source_.file->read(source_.offset + uint64_t(first_row) * source_.row_bytes(),
                       source_.row_bytes() * count, x);
    return;
  }
  row_.resize(size_t(source_.cols));
  for (int row = first_row; row < first_row + count; ++row, x += source_.cols) {
    read_float(row, 1, row_.data());
    from_float32(dtype, row_.data(), row_.size(), x);
  }
}

Error RowReader::not_finite(int row) const {
  return Error(
      ErrorCode::kInvalidCheckpoint,
      "tensor " + source_.name + " has a value that is not finite in row " + std::to_string(row));
}

void RowReader::read_quantized(DType dtype, int first_row, int count, uint8_t* values,
                               uint16_t* scales) {
  if (source_.format == dtype) {
    source_.file->read(source_.offset + uint64_t(first_row) * source_.row_bytes(),
                       source_.row_bytes() * count, values);
    source_.scales_file->read(source_.scales_offset + first_row * source_.scale_row_bytes(),
                              source_.scale_row_bytes() * count, scales);
    for (int row = 0; row < count; ++row) {
      const uint16_t* of_row = scales + row * size_t(source_.groups());
      const auto is_finite = [](uint16_t scale) { return (scale & 0x7c00) != 0x7c00; };
      if (!std::all_of(of_row, of_row + source_.groups(), is_finite)) {
        throw not_finite(first_row + row);
      }
    }
    return;
  }
  const size_t groups = size_t(source_.groups());
  row_.resize(size_t(source_.cols));
  for (int row = 0; row < count; ++row) {
    read_float(first_row + row, 1, row_.data());
    if (!all_finite(row_.data(), source_.cols)) throw not_finite(first_row + row);
    if (dtype == DType::kQ8) {
      quantize_q8_row(row_.data(), source_.cols,
                      reinterpret_cast<int8_t*>(values) + row * groups * kGroupSize,
                      scales + row * groups);
    } else {
      quantize_q4_row(row_.data(), source_.cols, values + row * groups * kGroupSize / 2,
                      scales + row * groups);
    }
  }
}

QuantizedMatrix quantize_matrix(const TensorSource& source, DType dtype, int threads,
                                const LoadProgress& progress) {
  constexpr int kRowsPerTask = 64;  // enough of them to make a read worthwhile
  const size_t row_bytes = value_row_bytes(dtype, source.cols);
  const size_t groups = size_t(source.groups());
  QuantizedMatrix result{std::vector<uint8_t>(source.rows * row_bytes),
                         std::vector<uint16_t>(source.rows * groups)};
  ThreadPool pool(threads);
  std::vector<RowReader> readers(threads, RowReader(source));
  pool.run_throwing((source.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int task, int thread) {
    progress.check();
    const int first = task * kRowsPerTask;
    const int count = std::min(kRowsPerTask, source.rows - first);
    readers[thread].read_quantized(dtype, first, count, &result.values[first * row_bytes],
                                   &result.scales[first * groups]);
  });
  return result;
}

}  // namespace openelm
