#pragma once

#include <string>
#include <vector>

#include "model/model.h"
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

// The released sizes.
struct Preset {
  const char* name;
  int num_layers, model_dim, head_dim;
};
constexpr Preset kPresets[] = {
    {"270M", 16, 1280, 64}, {"450M", 20, 1536, 64}, {"1.1B", 28, 2048, 64}, {"3B", 36, 3072, 128}};

// With layers by the rule of layer-wise scaling (MODEL.md).
Config config_of(const Preset& preset);

// Random tensors for every weight that the config implies, in the order of a checkpoint: outputs
// are of the order of 1. Matrices are in one format or by turns in two (U8 means that the
// embeddings are I8). test/helpers/oracle-file.ts makes the same numbers in F32.
std::vector<TensorSource> make_tensors(const Config& config, DType format, DType every_other);
inline std::vector<TensorSource> make_tensors(const Config& config, DType format) {
  return make_tensors(config, format, format);
}

// Makes the values of a model so large that float16 does not hold them, and out_proj so small that
// the model computes the same. The tensors are F32.
void enlarge_values(const Config& config, std::vector<TensorSource>& tensors);

}  // namespace openelm
