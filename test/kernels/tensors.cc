#include "tensors.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "dtype.h"
#include "quantize.h"
#include "reference.h"

namespace openelm {

uint64_t random_bits(uint64_t seed, uint64_t index) {
  uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15 + index * 0xd1b54a32d192ed03;
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
  return x ^ x >> 32;
}

float random_float(uint64_t seed, uint64_t index) {
  constexpr double kStep = 3.4641016151377544 * 0x1p-32;  // sqrt(12) over 32 bits
  return float(double(int32_t(random_bits(seed, index))) * kStep);
}

std::vector<float> random_floats(uint64_t seed, size_t size, float std) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = std * random_float(seed, i);
  return values;
}

namespace {

class MemoryFile : public File {
 public:
  explicit MemoryFile(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  void read(uint64_t offset, size_t bytes, void* to) const override {
    if (offset + bytes > bytes_.size()) throw std::out_of_range("read past the end of a file");
    std::memcpy(to, bytes_.data() + offset, bytes);
  }

 private:
  const std::vector<uint8_t> bytes_;
};

class RandomFile : public File {
 public:
  RandomFile(DType format, uint64_t seed, float std, float mean)
      : format_(format), seed_(seed), std_(std), mean_(mean) {}

  void read(uint64_t offset, size_t bytes, void* to) const override {
    switch (format_) {
      case DType::kFloat32:
        return fill<float>(offset, bytes, to, [&](uint64_t i) { return value(i); });
      case DType::kFloat16:
        return fill<uint16_t>(offset, bytes, to,
                              [&](uint64_t i) { return float_to_f16(value(i)); });
      case DType::kBFloat16:
        return fill<uint16_t>(offset, bytes, to,
                              [&](uint64_t i) { return float_to_bf16(value(i)); });
      case DType::kQ8:
      case DType::kQ4:
        return fill<uint8_t>(offset, bytes, to,
                             [&](uint64_t i) { return uint8_t(random_bits(seed_, i) >> 56); });
    }
  }

 private:
  float value(uint64_t index) const { return mean_ + std_ * random_float(seed_, index); }

  template <typename Element, typename Make>
  static void fill(uint64_t offset, size_t bytes, void* to, const Make& make) {
    const uint64_t first = offset / sizeof(Element);
    for (size_t i = 0; i < bytes / sizeof(Element); ++i) {
      static_cast<Element*>(to)[i] = make(first + i);
    }
  }

  const DType format_;
  const uint64_t seed_;
  const float std_;
  const float mean_;
};

}  // namespace

std::shared_ptr<const File> memory_file(std::vector<uint8_t> bytes) {
  return std::make_shared<MemoryFile>(std::move(bytes));
}

TensorSource float_tensor(const std::vector<float>& values, int rows) {
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  TensorSource source;
  source.file = memory_file(std::move(bytes));
  source.rows = rows;
  source.cols = int(values.size()) / rows;
  return source;
}

std::vector<float> read_floats(const TensorSource& tensor) {
  std::vector<float> values(size_t(tensor.rows) * tensor.cols);
  tensor.file->read(tensor.offset, values.size() * sizeof(float), values.data());
  return values;
}

TensorSource scaled_rows(const TensorSource& tensor, int first_row, float factor) {
  std::vector<float> values = read_floats(tensor);
  for (size_t i = size_t(first_row) * tensor.cols; i < values.size(); ++i) values[i] *= factor;
  TensorSource scaled = float_tensor(values, tensor.rows);
  scaled.name = tensor.name;
  return scaled;
}

TensorSource random_tensor(const std::string& name, DType format, int rows, int cols, uint64_t seed,
                           float std, float mean) {
  TensorSource source;
  source.name = name;
  source.format = format;
  source.rows = rows;
  source.cols = cols;
  source.file = std::make_shared<RandomFile>(format, seed, std, mean);
  if (source.quantized()) {
    const float code_std = format == DType::kQ8 ? 73.9f : 4.6f;
    source.scales_file = std::make_shared<RandomFile>(DType::kFloat16, ~seed, std / code_std, 0.0f);
  }
  return source;
}

static std::vector<float> stored_row(const TensorSource& source, int row) {
  std::vector<uint8_t> raw(source.row_bytes());
  source.file->read(source.offset + row * raw.size(), raw.size(), raw.data());
  std::vector<uint16_t> scales(source.quantized() ? source.groups() : 0);
  if (source.quantized()) {
    source.scales_file->read(source.scales_offset + row * scales.size() * 2, scales.size() * 2,
                             scales.data());
  }
  std::vector<float> values(source.cols);
  for (int c = 0; c < source.cols; ++c) {
    uint16_t half;
    std::memcpy(&half, &raw[source.quantized() ? 0 : 2 * size_t(c)], 2);
    const int group = c / kGroupSize;
    const int i = c % kGroupSize;
    switch (source.format) {
      case DType::kFloat32:
        std::memcpy(&values[c], &raw[4 * size_t(c)], 4);
        break;
      case DType::kFloat16:
        values[c] = float(f16_value(half));
        break;
      case DType::kBFloat16:
        values[c] = float(bf16_value(half));
        break;
      case DType::kQ8:
        values[c] = float(f16_value(scales[group]) * int8_t(raw[c]));
        break;
      case DType::kQ4:
        values[c] = float(f16_value(scales[group]) * q4_code(&raw[group * 16], i));
        break;
    }
  }
  return values;
}

std::vector<double> loaded_row(const TensorSource& source, DType dtype, int row) {
  const std::vector<float> stored = stored_row(source, row);
  std::vector<double> values(stored.begin(), stored.end());
  if (source.format == dtype) return values;

  const size_t groups = size_t(source.groups());
  std::vector<uint16_t> scales(groups);
  std::vector<uint8_t> codes(groups * kGroupSize);
  if (dtype == DType::kQ8) {
    quantize_q8_row(stored.data(), source.cols, reinterpret_cast<int8_t*>(codes.data()),
                    scales.data());
  } else if (dtype == DType::kQ4) {
    quantize_q4_row(stored.data(), source.cols, codes.data(), scales.data());
  }
  for (int c = 0; c < source.cols; ++c) {
    const double scale = f16_value(scales[c / kGroupSize]);
    if (dtype == DType::kFloat16) values[c] = round_to_f16(values[c]);
    if (dtype == DType::kBFloat16) values[c] = round_to_bf16(values[c]);
    if (dtype == DType::kQ8) values[c] = scale * int8_t(codes[c]);
    if (dtype == DType::kQ4) {
      values[c] = scale * q4_code(&codes[c / kGroupSize * 16], c % kGroupSize);
    }
  }
  return values;
}

const char* dtype_name(DType dtype) {
  const char* names[] = {"float32", "float16", "bfloat16", "q8", "q4"};
  return names[int(dtype)];
}

}  // namespace openelm
