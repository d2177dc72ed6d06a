#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../dtype.h"
#include "config.h"

namespace openelm {

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

}  // namespace openelm
