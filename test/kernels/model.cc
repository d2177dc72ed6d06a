#include "model.h"

#include <algorithm>
#include <cmath>

#include "model/load.h"
#include "tensors.h"

namespace openelm {

Config make_config(int model_dim, int head_dim, int vocab_size,
                   const std::vector<LayerShape>& layers) {
  Config config;
  config.num_layers = int(layers.size());
  config.model_dim = model_dim;
  config.head_dim = head_dim;
  config.vocab_size = vocab_size;
  config.max_context_length = 2048;
  for (const LayerShape& layer : layers) {
    config.num_query_heads.push_back(layer.num_query_heads);
    config.num_kv_heads.push_back(layer.num_kv_heads);
    config.ffn_dims.push_back(layer.ffn_dim);
  }
  return config;
}

static int make_divisible(double value, int divisor) {
  int rounded = std::max(divisor, int(value + divisor / 2.0) / divisor * divisor);
  if (rounded < 0.9 * value) rounded += divisor;
  return rounded;
}

Config config_of(const Preset& preset) {
  constexpr int kGroup = 4;
  std::vector<LayerShape> layers;
  for (int i = 0; i < preset.num_layers; ++i) {
    const auto width = [&](double from, double to, int divisor) {
      const double multiplier = from + (to - from) * i / (preset.num_layers - 1);
      return make_divisible(preset.model_dim * std::round(100 * multiplier) / 100, divisor);
    };
    const int query_heads = width(0.5, 1, preset.head_dim * kGroup) / preset.head_dim;
    layers.push_back({query_heads, query_heads / kGroup, width(0.5, 4, 256)});
  }
  return make_config(preset.model_dim, preset.head_dim, 32000, layers);
}

std::vector<TensorSource> make_tensors(const Config& config, DType format, DType every_other) {
  std::vector<TensorSource> tensors;
  const auto matrix = [&](const std::string& name, int rows, int cols, bool embeds = false) {
    DType chosen = tensors.size() % 2 ? format : every_other;
    if (embeds && chosen == DType::kQ4) chosen = DType::kQ8;
    tensors.push_back(
        random_tensor(name, chosen, rows, cols, tensors.size(), 1 / std::sqrt(float(cols))));
  };
  const auto vector = [&](const std::string& name, int size) {
    tensors.push_back(random_tensor(name, DType::kFloat32, 1, size, tensors.size(), 0.2f, 1.0f));
  };
  const int d = config.model_dim;
  matrix(kEmbeddingsName, config.vocab_size, d, true);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = layer_prefix(i);
    const int f = config.ffn_dims[i];
    vector(prefix + "attn_norm.weight", d);
    matrix(prefix + "attn.qkv_proj.weight", config.qkv_dim(i), d);
    if (config.normalize_qk_projections) {
      vector(prefix + "attn.q_norm.weight", config.head_dim);
      vector(prefix + "attn.k_norm.weight", config.head_dim);
    }
    matrix(prefix + "attn.out_proj.weight", d, config.q_dim(i));
    vector(prefix + "ffn_norm.weight", d);
    matrix(prefix + "ffn.proj_1.weight", config.ffn_with_glu ? 2 * f : f, d);
    matrix(prefix + "ffn.proj_2.weight", d, f);
  }
  vector("transformer.norm.weight", d);
  if (!config.share_input_output_layers) matrix(kHeadName, config.vocab_size, d, true);
  return tensors;
}

void enlarge_values(const Config& config, std::vector<TensorSource>& tensors) {
  constexpr float kFactor = 0x1p17f;  // which leaves the weights themselves below 65504
  int layer = 0;
  for (TensorSource& tensor : tensors) {
    if (tensor.name.ends_with("attn.qkv_proj.weight")) {
      tensor = scaled_rows(tensor, config.q_dim(layer) + config.kv_dim(layer), kFactor);
    } else if (tensor.name.ends_with("attn.out_proj.weight")) {
      tensor = scaled_rows(tensor, 0, 1 / kFactor);
      ++layer;
    }
  }
}

}  // namespace openelm
