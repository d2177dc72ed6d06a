#include "random_model.h"

#include <cmath>
#include <cstring>

#include "../../../native/error.h"
#include "../../../native/half.h"
#include "../../../native/quantize.h"
#include "../uniform_weights.h"

namespace openelm::test {

namespace {

class MemoryFile : public File {
 public:
  explicit MemoryFile(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
  void read(uint64_t offset, size_t bytes, void* to) const override {
    if (offset + bytes > bytes_.size()) throw Error(ErrorCode::kIoError, "read past the end");
    std::memcpy(to, bytes_.data() + offset, bytes);
  }

 private:
  const std::vector<char> bytes_;
};

template <typename T>
std::shared_ptr<const File> file_of(const std::vector<T>& values) {
  std::vector<char> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return std::make_shared<MemoryFile>(std::move(bytes));
}

// Rounds a row to 16 bits and back. Returns the bits.
std::vector<uint16_t> round_to_16_bits(std::vector<float>& values, DType dtype) {
  std::vector<uint16_t> bits;
  bits.reserve(values.size());
  for (float& value : values) {
    if (dtype == DType::kFloat16) {
      bits.push_back(float_to_f16(value));
      value = f16_to_float(bits.back());
    } else {
      bits.push_back(float_to_bf16(value));
      value = bf16_to_float(bits.back());
    }
  }
  return bits;
}

struct Quantized {
  std::vector<uint8_t> values;
  std::vector<uint16_t> scales;
};

Quantized quantize(HostMatrix& matrix, DType dtype) {
  const size_t groups = size_t(matrix.cols + kGroupSize - 1) / kGroupSize;
  const size_t row_bytes = groups * kGroupSize / (dtype == DType::kQ8 ? 1 : 2);
  Quantized q{std::vector<uint8_t>(matrix.rows * row_bytes),
              std::vector<uint16_t>(matrix.rows * groups)};
  for (int r = 0; r < matrix.rows; ++r) {
    float* const row = matrix.values.data() + size_t(r) * matrix.cols;
    uint8_t* const values = q.values.data() + r * row_bytes;
    uint16_t* const scales = q.scales.data() + r * groups;
    if (dtype == DType::kQ8) {
      quantize_q8_row(row, matrix.cols, reinterpret_cast<int8_t*>(values), scales);
      dequantize_q8_row(reinterpret_cast<int8_t*>(values), scales, matrix.cols, row);
    } else {
      quantize_q4_row(row, matrix.cols, values, scales);
      dequantize_q4_row(values, scales, matrix.cols, row);
    }
  }
  return q;
}

}  // namespace

static uint32_t random_state = 1;

void seed_random(uint32_t seed) { random_state = seed; }

float random_value() {
  random_state = random_state * 1664525 + 1013904223;
  return float(int32_t(random_state) >> 8) * 0x1p-23f;
}

std::vector<float> random_values(size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = random_value();
  return values;
}

TensorSource host_vector(const std::vector<float>& values) {
  TensorSource source;
  source.name = "vector";
  source.file = file_of(values);
  source.rows = 1;
  source.cols = int(values.size());
  return source;
}

RandomModel::RandomModel(const Config& config, DType dtype) : config(config), dtype(dtype) {
  const int d = config.model_dim;
  const DType embedding_dtype = dtype == DType::kQ4 ? DType::kQ8 : dtype;
  token_embeddings =
      add_matrix("transformer.token_embeddings.weight", config.vocab_size, d, embedding_dtype);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = "transformer.layers." + std::to_string(i) + ".";
    const int f = config.ffn_dims[i];
    HostLayer layer;
    layer.attn_norm = add_vector(prefix + "attn_norm.weight", d);
    layer.qkv_proj = add_matrix(prefix + "attn.qkv_proj.weight", config.qkv_dim(i), d, dtype);
    if (config.normalize_qk_projections) {
      layer.q_norm = add_vector(prefix + "attn.q_norm.weight", config.head_dim);
      layer.k_norm = add_vector(prefix + "attn.k_norm.weight", config.head_dim);
    }
    layer.out_proj = add_matrix(prefix + "attn.out_proj.weight", d, config.q_dim(i), dtype);
    layer.ffn_norm = add_vector(prefix + "ffn_norm.weight", d);
    layer.proj_1 =
        add_matrix(prefix + "ffn.proj_1.weight", config.ffn_with_glu ? 2 * f : f, d, dtype);
    layer.proj_2 = add_matrix(prefix + "ffn.proj_2.weight", d, f, dtype);
    layers.push_back(std::move(layer));
  }
  norm = add_vector("transformer.norm.weight", d);
  lm_head = config.share_input_output_layers
                ? token_embeddings
                : add_matrix("lm_head.weight", config.vocab_size, d, embedding_dtype);
}

// Every other matrix is stored as it will be used, the rest in float32, to be converted at load.
HostMatrix RandomModel::add_matrix(const std::string& name, int rows, int cols, DType as) {
  HostMatrix matrix{rows, cols, random_values(size_t(rows) * cols)};
  const float scale = std::sqrt(3.0f / float(cols));
  for (float& value : matrix.values) value *= scale;

  TensorSource source;
  source.name = name;
  source.rows = rows;
  source.cols = cols;
  const bool stored = tensors_.size() % 2 == 1;
  if (!stored) source.file = file_of(matrix.values);
  if (as == DType::kQ8 || as == DType::kQ4) {
    const Quantized q = quantize(matrix, as);
    if (stored) {
      source.format = as == DType::kQ8 ? TensorSource::Format::kI8 : TensorSource::Format::kU8;
      source.file = file_of(q.values);
      source.scales_file = file_of(q.scales);
    }
  } else if (as != DType::kFloat32) {
    const std::vector<uint16_t> bits = round_to_16_bits(matrix.values, as);
    if (stored) {
      source.format =
          as == DType::kFloat16 ? TensorSource::Format::kF16 : TensorSource::Format::kBF16;
      source.file = file_of(bits);
    }
  } else if (stored) {
    source.file = file_of(matrix.values);
  }
  tensors_.push_back(std::move(source));
  return matrix;
}

std::vector<float> RandomModel::add_vector(const std::string& name, int size) {
  std::vector<float> values = random_values(size_t(size));
  for (float& value : values) value = 1 + 0.2f * value;
  TensorSource source = host_vector(values);
  source.name = name;
  tensors_.push_back(std::move(source));
  return values;
}

Weights RandomModel::load(Backend& backend) const {
  backend.require(config);
  uint64_t bytes = 0;
  for (const TensorSource& tensor : tensors_) bytes += tensor.bytes();
  LoadProgress progress(bytes, nullptr);
  return load_uniform_weights(backend, config, tensors_, dtype, progress);
}

}  // namespace openelm::test
