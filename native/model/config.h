#pragma once

#include <algorithm>
#include <vector>

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

}  // namespace openelm
