#include "model.h"

#include <cmath>

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

std::vector<TensorSource> make_tensors(const Config& config, TensorSource::Format format) {
  using Format = TensorSource::Format;
  std::vector<TensorSource> tensors;
  const auto matrix = [&](const std::string& name, Format format, int rows, int cols) {
    tensors.push_back(
        random_tensor(name, format, rows, cols, tensors.size(), 1 / std::sqrt(float(cols))));
  };
  const auto vector = [&](const std::string& name, int size) {
    tensors.push_back(random_tensor(name, Format::kF32, 1, size, tensors.size(), 0.2f, 1.0f));
  };
  const int d = config.model_dim;
  const Format embedding_format = format == Format::kU8 ? Format::kI8 : format;
  matrix("transformer.token_embeddings.weight", embedding_format, config.vocab_size, d);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = "transformer.layers." + std::to_string(i) + ".";
    const int f = config.ffn_dims[i];
    vector(prefix + "attn_norm.weight", d);
    matrix(prefix + "attn.qkv_proj.weight", format, config.qkv_dim(i), d);
    vector(prefix + "attn.q_norm.weight", config.head_dim);
    vector(prefix + "attn.k_norm.weight", config.head_dim);
    matrix(prefix + "attn.out_proj.weight", format, d, config.q_dim(i));
    vector(prefix + "ffn_norm.weight", d);
    matrix(prefix + "ffn.proj_1.weight", format, config.ffn_with_glu ? 2 * f : f, d);
    matrix(prefix + "ffn.proj_2.weight", format, d, f);
  }
  vector("transformer.norm.weight", d);
  matrix("lm_head.weight", embedding_format, config.vocab_size, d);
  return tensors;
}

}  // namespace openelm
