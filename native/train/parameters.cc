#include "parameters.h"

namespace openelm::train {

Parameters::Parameters(const Config& config) {
  const size_t d = config.model_dim;
  const size_t h = config.head_dim;
  token_embeddings = add_matrix(config.vocab_size, d);
  for (int i = 0; i < config.num_layers; ++i) {
    const size_t f = config.ffn_dims[i];
    Layer layer{};
    layer.attn_norm = add_norm(d);
    layer.qkv_proj = add_matrix(config.qkv_dim(i), d);
    if (config.normalize_qk_projections) {
      layer.q_norm = add_norm(h);
      layer.k_norm = add_norm(h);
    }
    layer.out_proj = add_matrix(d, config.q_dim(i));
    layer.ffn_norm = add_norm(d);
    layer.proj_1 = add_matrix(config.ffn_with_glu ? 2 * f : f, d);
    layer.proj_2 = add_matrix(d, f);
    layers.push_back(layer);
  }
  norm = add_norm(d);
  lm_head = config.share_input_output_layers ? token_embeddings : add_matrix(config.vocab_size, d);
}

size_t Parameters::add(size_t size, bool is_matrix) {
  const size_t begin = tensors.empty() ? 0 : tensors.back().end;
  tensors.push_back({begin, begin + size, is_matrix});
  return begin;
}

}  // namespace openelm::train
