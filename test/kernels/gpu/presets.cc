#include "presets.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../../../native/half.h"
#include "random_model.h"

namespace openelm::test {
namespace {

int make_divisible(double value, int divisor) {
  int rounded = std::max(divisor, int(value + divisor / 2.0) / divisor * divisor);
  if (rounded < 0.9 * value) rounded += divisor;
  return rounded;
}

// A file without end of plausible elements.
class EndlessFile : public File {
 public:
  explicit EndlessFile(std::vector<char> period) : period_(std::move(period)) {}
  void read(uint64_t offset, size_t bytes, void* to) const override {
    auto* at = static_cast<char*>(to);
    size_t from = offset % period_.size();
    while (bytes > 0) {
      const size_t piece = std::min(bytes, period_.size() - from);
      std::memcpy(at, period_.data() + from, piece);
      at += piece;
      bytes -= piece;
      from = 0;
    }
  }

 private:
  const std::vector<char> period_;
};

template <typename T, typename Make>
std::shared_ptr<const File> endless(const Make& make) {
  constexpr size_t kPeriod = 1 << 20;
  std::vector<char> bytes(kPeriod * sizeof(T));
  for (size_t i = 0; i < kPeriod; ++i) {
    const T value = make();
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return std::make_shared<EndlessFile>(std::move(bytes));
}

}  // namespace

Config config_of(const Preset& preset) {
  Config config;
  config.num_layers = preset.num_layers;
  config.model_dim = preset.model_dim;
  config.head_dim = preset.head_dim;
  config.vocab_size = 32000;
  config.max_context_length = 2048;
  constexpr int kGroup = 4;
  for (int i = 0; i < preset.num_layers; ++i) {
    const auto multiplier = [&](double from, double to) {
      return std::round(100 * (from + (to - from) * i / (preset.num_layers - 1))) / 100;
    };
    const int q_dim =
        make_divisible(preset.model_dim * multiplier(0.5, 1), preset.head_dim * kGroup);
    config.num_query_heads.push_back(q_dim / preset.head_dim);
    config.num_kv_heads.push_back(q_dim / preset.head_dim / kGroup);
    config.ffn_dims.push_back(make_divisible(preset.model_dim * multiplier(0.5, 4), 256));
  }
  return config;
}

std::vector<TensorSource> endless_tensors(const Config& config, DType dtype, Fill fill) {
  const auto random = [&] { return fill == Fill::kZero ? 0.0f : random_value(); };
  const auto norms = endless<float>([] { return 1.0f; });
  const auto halves = endless<uint16_t>([&] { return float_to_bf16(0.02f * random()); });
  const auto bytes = endless<uint8_t>(
      [&] { return fill == Fill::kZero ? 0 : uint8_t(128 * random_value() + 128); });
  const auto scales = endless<uint16_t>(
      [&] { return float_to_f16(dtype == DType::kQ8 ? 0.02f / 127 : 0.02f / 8); });
  std::vector<TensorSource> tensors;
  const auto vector = [&](const std::string& name, int size) {
    TensorSource source;
    source.name = name;
    source.file = norms;
    source.rows = 1;
    source.cols = size;
    tensors.push_back(source);
  };
  const auto matrix = [&](const std::string& name, int rows, int cols, DType as) {
    TensorSource source;
    source.name = name;
    source.rows = rows;
    source.cols = cols;
    source.file = as == DType::kBFloat16 ? halves : bytes;
    source.scales_file = scales;
    source.format = as == DType::kBFloat16 ? TensorSource::Format::kBF16
                    : as == DType::kQ8     ? TensorSource::Format::kI8
                                           : TensorSource::Format::kU8;
    tensors.push_back(source);
  };
  const int d = config.model_dim;
  matrix("transformer.token_embeddings.weight", config.vocab_size, d,
         dtype == DType::kQ4 ? DType::kQ8 : dtype);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = "transformer.layers." + std::to_string(i) + ".";
    vector(prefix + "attn_norm.weight", d);
    matrix(prefix + "attn.qkv_proj.weight", config.qkv_dim(i), d, dtype);
    vector(prefix + "attn.q_norm.weight", config.head_dim);
    vector(prefix + "attn.k_norm.weight", config.head_dim);
    matrix(prefix + "attn.out_proj.weight", d, config.q_dim(i), dtype);
    vector(prefix + "ffn_norm.weight", d);
    matrix(prefix + "ffn.proj_1.weight", 2 * config.ffn_dims[size_t(i)], d, dtype);
    matrix(prefix + "ffn.proj_2.weight", d, config.ffn_dims[size_t(i)], dtype);
  }
  vector("transformer.norm.weight", d);
  return tensors;
}

}  // namespace openelm::test
