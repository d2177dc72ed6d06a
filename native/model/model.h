#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../dtype.h"

// What a model is made of.
namespace openelm {

// Beyond these nothing is trained, and products of two of them fit in an int.
constexpr int kMaxContextLength = 1 << 20;
constexpr int kMaxVocabSize = 1 << 20;

// The shape of a model. Every layer has its own head counts and FFN width; those vectors have
// num_layers entries.
struct Config {
  int num_layers = 0;
  int model_dim = 0;  // d
  int head_dim = 0;   // h, even
  int vocab_size = 0;
  int max_context_length = 0;
  std::vector<int> num_query_heads;
  std::vector<int> num_kv_heads;  // each divides its num_query_heads
  std::vector<int> ffn_dims;      // f: the width of one half when ffn_with_glu
  bool ffn_with_glu = true;
  bool normalize_qk_projections = true;
  bool share_input_output_layers = true;
  float rope_freq_constant = 10000;  // known elsewhere as rope_theta
  float rms_norm_eps = 1e-6f;

  int q_dim(int layer) const { return num_query_heads[layer] * head_dim; }
  int kv_dim(int layer) const { return num_kv_heads[layer] * head_dim; }
  int qkv_dim(int layer) const { return q_dim(layer) + 2 * kv_dim(layer); }
  // Of all layers, 0 without any.
  int max_q_dim() const {
    return widest([this](int layer) { return q_dim(layer); });
  }
  int max_qkv_dim() const {
    return widest([this](int layer) { return qkv_dim(layer); });
  }
  int max_ffn_dim() const {
    return widest([this](int layer) { return ffn_dims[layer]; });
  }

 private:
  template <typename Dim>
  int widest(const Dim& dim) const {
    int result = 0;
    for (int layer = 0; layer < num_layers; ++layer) result = std::max(result, dim(layer));
    return result;
  }
};

// Throws Error{kInvalidArgument} for a shape with which memory could be read or written beyond its
// end. What else makes a good config, TypeScript has checked.
void check(const Config& config);

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
