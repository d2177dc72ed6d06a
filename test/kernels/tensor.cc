#include "tensor.h"

#include <cstring>

#include "../../native/half.h"
#include "../../native/quantize.h"

namespace openelm {

namespace {

struct MemoryFile : File {
  explicit MemoryFile(std::vector<char> bytes) : bytes(std::move(bytes)) {}
  void read(uint64_t offset, size_t count, void* to) const override {
    std::memcpy(to, bytes.data() + offset, count);
  }
  const std::vector<char> bytes;
};

template <typename T>
std::shared_ptr<const File> file_of(const std::vector<T>& values) {
  const char* bytes = reinterpret_cast<const char*>(values.data());
  return std::make_shared<MemoryFile>(std::vector<char>(bytes, bytes + values.size() * sizeof(T)));
}

void store_halves(TensorSource& source, bool is_f16, std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (float& value : values) {
    bits.push_back(is_f16 ? float_to_f16(value) : float_to_bf16(value));
    value = is_f16 ? f16_to_float(bits.back()) : bf16_to_float(bits.back());
  }
  source.format = is_f16 ? TensorSource::Format::kF16 : TensorSource::Format::kBF16;
  source.file = file_of(bits);
}

void store_quantized(TensorSource& source, bool is_q8, std::vector<float>& values) {
  source.format = is_q8 ? TensorSource::Format::kI8 : TensorSource::Format::kU8;
  const size_t row_bytes = source.row_bytes();
  const size_t groups = size_t(source.groups());
  std::vector<uint8_t> packed(source.rows * row_bytes);
  std::vector<uint16_t> scales(source.rows * groups);
  for (int row = 0; row < source.rows; ++row) {
    float* x = &values[size_t(row) * source.cols];
    uint8_t* to = &packed[row * row_bytes];
    uint16_t* row_scales = &scales[row * groups];
    if (is_q8) {
      auto* bytes = reinterpret_cast<int8_t*>(to);
      quantize_q8_row(x, source.cols, bytes, row_scales);
      dequantize_q8_row(bytes, row_scales, source.cols, x);
    } else {
      quantize_q4_row(x, source.cols, to, row_scales);
      dequantize_q4_row(to, row_scales, source.cols, x);
    }
  }
  source.file = file_of(packed);
  source.scales_file = file_of(scales);
}

}  // namespace

TensorSource vector_source(const std::vector<float>& values) {
  TensorSource source;
  source.rows = 1;
  source.cols = int(values.size());
  source.file = file_of(values);
  return source;
}

Tensor random_tensor(const std::string& name, int rows, int cols, DType dtype, float offset,
                     float scale, std::mt19937& random) {
  std::uniform_real_distribution<float> draw(offset - scale, offset + scale);
  std::vector<float> values(size_t(rows) * cols);
  for (float& value : values) value = draw(random);
  Tensor tensor;
  tensor.source.name = name;
  tensor.source.rows = rows;
  tensor.source.cols = cols;
  switch (dtype) {
    case DType::kFloat32:
      tensor.source.file = file_of(values);
      break;
    case DType::kFloat16:
    case DType::kBFloat16:
      store_halves(tensor.source, dtype == DType::kFloat16, values);
      break;
    case DType::kQ8:
    case DType::kQ4:
      store_quantized(tensor.source, dtype == DType::kQ8, values);
      break;
  }
  tensor.values.assign(values.begin(), values.end());
  return tensor;
}

}  // namespace openelm
