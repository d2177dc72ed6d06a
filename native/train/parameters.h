#pragma once

#include <cstddef>
#include <vector>

#include "../model/model.h"

namespace openelm::train {

// Where each tensor begins in one array of all parameters, matrices row-major, in the order of
// tensorSpecs in lib/config.ts. Gradients and moments are arrays of the same layout.
struct Parameters {
  explicit Parameters(const Config& config);

  struct Layer {
    size_t attn_norm;  // [d]
    size_t qkv_proj;   // [(Hq + 2*Hkv)*h, d]
    size_t q_norm;     // [h]; not there without q/k norm
    size_t k_norm;     // [h]
    size_t out_proj;   // [d, Hq*h]
    size_t ffn_norm;   // [d]
    size_t proj_1;     // [2f, d], or [f, d] without GLU
    size_t proj_2;     // [d, f]
  };
  struct Tensor {
    size_t begin;
    size_t end;
    bool is_matrix;
  };

  size_t token_embeddings;  // [V, d]
  std::vector<Layer> layers;
  size_t norm;     // [d]
  size_t lm_head;  // [V, d]; the token embeddings themselves when the layers are shared
  std::vector<Tensor> tensors;

  size_t size() const { return tensors.back().end; }

 private:
  size_t add(size_t size, bool is_matrix);
  size_t add_matrix(size_t rows, size_t cols) { return add(rows * cols, true); }
  size_t add_norm(size_t size) { return add(size, false); }
};

}  // namespace openelm::train
