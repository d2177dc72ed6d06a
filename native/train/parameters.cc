#include "parameters.h"

#include <algorithm>

#include "../error.h"

namespace openelm::train {

size_t Layout::add(MatrixShape shape, bool is_matrix) {
  const size_t begin = size();
  tensors.push_back({begin, begin + size_t(shape.rows) * shape.cols, is_matrix, shape});
  return begin;
}

MatrixShape shape_of(const Config& config, int layer, Module module) {
  const int d = config.model_dim;
  switch (module) {
    case Module::kEmbedding:
      return {config.vocab_size, d};
    case Module::kQkvProj:
      return {config.qkv_dim(layer), d};
    case Module::kOutProj:
      return {d, config.q_dim(layer)};
    case Module::kProj1:
      return {(config.ffn_with_glu ? 2 : 1) * config.ffn_dims[layer], d};
    case Module::kProj2:
      return {d, config.ffn_dims[layer]};
  }
  return {};
}

Parameters::Parameters(const Config& config) {
  const auto add = [&](int layer, Module module) {
    return add_matrix(shape_of(config, layer, module));
  };
  token_embeddings = add(-1, Module::kEmbedding);
  for (int i = 0; i < config.num_layers; ++i) {
    Layer layer{};
    layer.attn_norm = add_vector(config.model_dim);
    layer.qkv_proj = add(i, Module::kQkvProj);
    if (config.normalize_qk_projections) {
      layer.q_norm = add_vector(config.head_dim);
      layer.k_norm = add_vector(config.head_dim);
    }
    layer.out_proj = add(i, Module::kOutProj);
    layer.ffn_norm = add_vector(config.model_dim);
    layer.proj_1 = add(i, Module::kProj1);
    layer.proj_2 = add(i, Module::kProj2);
    layers.push_back(layer);
  }
  norm = add_vector(config.model_dim);
  lm_head = config.share_input_output_layers ? token_embeddings : add(-1, Module::kEmbedding);
}

size_t Parameters::matrix(int layer, Module module) const {
  switch (module) {
    case Module::kEmbedding:
      return token_embeddings;
    case Module::kQkvProj:
      return layers[layer].qkv_proj;
    case Module::kOutProj:
      return layers[layer].out_proj;
    case Module::kProj1:
      return layers[layer].proj_1;
    case Module::kProj2:
      return layers[layer].proj_2;
  }
  return 0;
}

AdapterParameters::AdapterParameters(const Config& config, const AdapterOptions& options) {
  for (const AdapterTarget& given : options.targets) {
    Target target{given, shape_of(config, given.layer, given.module), 0, 0, 0, false};
    const auto [out, in] = target.shape;
    target.a = add_matrix({target.rank, in});
    target.b = add_matrix({out, target.rank});
    target.has_m = options.dora && target.module != Module::kEmbedding;
    if (target.has_m) target.m = add_vector(out);
    targets.push_back(target);
  }
}

int AdapterParameters::find(int layer, Module module) const {
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i].layer == layer && targets[i].module == module) return int(i);
  }
  return -1;
}

int AdapterParameters::max_rank() const {
  int result = 0;
  for (const Target& target : targets) result = std::max(result, target.rank);
  return result;
}

int AdapterParameters::lowest_layer() const {
  int result = targets.empty() ? -1 : targets.front().layer;
  for (const Target& target : targets) result = std::min(result, target.layer);
  return result;
}

void check(const Config& config, const AdapterOptions& options) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, what);
  };
  require(options.dropout >= 0 && options.dropout < 1, "expected a dropout from 0 to below 1");
  for (size_t i = 0; i < options.targets.size(); ++i) {
    const auto& [layer, module, rank, scale] = options.targets[i];
    const bool is_layer = layer >= 0 && layer < config.num_layers;
    require(module == Module::kEmbedding ? layer == -1 : is_layer, "expected a layer of the model");
    const MatrixShape shape = shape_of(config, layer, module);
    require(rank >= 1 && rank <= std::max(shape.rows, shape.cols), "expected a rank that fits");
    for (size_t j = 0; j < i; ++j) {
      const AdapterTarget& other = options.targets[j];
      require(other.layer != layer || other.module != module, "a matrix has two adapters");
    }
  }
}

}  // namespace openelm::train
