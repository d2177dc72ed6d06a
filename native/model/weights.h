#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "tensor_source.h"

namespace openelm {

class Backend;

// Memory of a backend, or a part of it. Copies share it.
struct Buffer {
  std::shared_ptr<void> memory;  // the whole, under the address that the backend uses
  size_t bytes = 0;
  size_t offset = 0;       // of a part: where it begins in the whole
  void* handle = nullptr;  // the whole under another name, for a backend whose GPU needs one

  template <typename T>
  T* as() const {
    return static_cast<T*>(static_cast<void*>(static_cast<char*>(memory.get()) + offset));
  }

  Buffer part(size_t begin, size_t size) const { return {memory, size, offset + begin, handle}; }
};

// W [rows, cols] in the packing of the backend that loaded it.
struct Matrix {
  Buffer data;
  int rows = 0;
  int cols = 0;
  DType dtype = DType::kFloat32;
};

// kGateUp: the first half of the rows makes the gate and the second half the up projection, as in
// proj_1. A backend may store them interleaved, so that SwiGLU finds each pair together.
enum class MatrixLayout : uint8_t { kPlain, kGateUp };

struct Layer {
  int index = 0;
  int num_query_heads = 0;
  int num_kv_heads = 0;
  int ffn_dim = 0;
  Buffer attn_norm;  // [d]
  Matrix qkv_proj;   // [(Hq + 2*Hkv)*h, d]: all query heads, all key heads, all value heads
  Buffer q_norm;     // [h], shared by the heads; empty without q/k norm
  Buffer k_norm;     // [h]
  Matrix out_proj;   // [d, Hq*h]
  Buffer ffn_norm;   // [d]
  Matrix proj_1;     // [2f, d], gate then up; [f, d] without GLU
  Matrix proj_2;     // [d, f]
};

struct Weights {
  Config config;
  Matrix token_embeddings;  // [V, d]
  std::vector<Layer> layers;
  Buffer norm;     // [d]
  Matrix lm_head;  // [V, d]; the token embeddings themselves when the layers are shared

  size_t bytes() const;  // of memory held
};

inline constexpr char kEmbeddingsName[] = "transformer.token_embeddings.weight";
inline constexpr char kHeadName[] = "lm_head.weight";

// What a model of `model_dtype` keeps a matrix as. In a q4 model that is q8 for
// - the embedding and the output layer, whose errors reach every logit, and
// - rows that groups of kGroupSize do not fill, which the released models do not have: a padded
//   last group wastes bits. llama.cpp leaves such rows in float16.
// lib/tensor-headers.ts has the same rule for checkpoints.
DType matrix_dtype(DType model_dtype, const std::string& name, int cols);

// Loads every tensor that the config implies. `tensors` are found by their checkpoint names; a
// missing one, or one of another shape, is Error{kInvalidCheckpoint}.
Weights load_weights(Backend& backend, const Config& config,
                     const std::vector<TensorSource>& tensors, DType dtype, LoadProgress& progress);

}  // namespace openelm
