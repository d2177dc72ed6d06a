#pragma once

#include <vector>

#include "model/config.h"
#include "model/tensor_source.h"

namespace openelm {

// A layer of a model, for make_config.
struct LayerShape {
  int num_query_heads;
  int num_kv_heads;
  int ffn_dim;
};

Config make_config(int model_dim, int head_dim, int vocab_size,
                   const std::vector<LayerShape>& layers);

// Random tensors for every weight that the config implies: matrices in `format` (U8 means the
// embeddings are I8), outputs of the order of 1.
std::vector<TensorSource> make_tensors(const Config& config, TensorSource::Format format);

}  // namespace openelm
