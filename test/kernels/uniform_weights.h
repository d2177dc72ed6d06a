#pragma once

#include "../../native/backend.h"
#include "../../native/model/load.h"

namespace openelm {

// load_weights, but every matrix of a layer is of `dtype`: kernels take q4 with any number of
// columns, although models keep some such matrices as q8.
inline Weights load_uniform_weights(Backend& backend, const Config& config,
                                    const std::vector<TensorSource>& tensors, DType dtype,
                                    LoadProgress& progress) {
  Weights weights = load_weights(backend, config, tensors, dtype, progress);
  const auto load = [&](const std::string& name, Matrix& matrix,
                        MatrixLayout layout = MatrixLayout::kPlain) {
    if (matrix.dtype == dtype) return;
    for (const TensorSource& tensor : tensors) {
      if (tensor.name == name) matrix = backend.load_matrix(tensor, dtype, layout, progress);
    }
  };
  for (Layer& layer : weights.layers) {
    const std::string prefix = "transformer.layers." + std::to_string(layer.index) + ".";
    load(prefix + "attn.qkv_proj.weight", layer.qkv_proj);
    load(prefix + "attn.out_proj.weight", layer.out_proj);
    load(prefix + "ffn.proj_1.weight", layer.proj_1,
         config.ffn_with_glu ? MatrixLayout::kGateUp : MatrixLayout::kPlain);
    load(prefix + "ffn.proj_2.weight", layer.proj_2);
  }
  return weights;
}

}  // namespace openelm
