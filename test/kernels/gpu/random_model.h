#pragma once

#include <string>
#include <vector>

#include "../../../native/backend.h"

namespace openelm::test {

// W [rows, cols] in float32, holding exactly what a dtype makes of it.
struct HostMatrix {
  int rows = 0;
  int cols = 0;
  std::vector<float> values;

  const float* row(int r) const { return values.data() + size_t(r) * cols; }
};

struct HostLayer {
  HostMatrix qkv_proj, out_proj, proj_1, proj_2;
  std::vector<float> attn_norm, ffn_norm;
  std::vector<float> q_norm, k_norm;  // empty without q/k norm
};

// A model of random weights: a checkpoint in memory, and what its weights are once loaded. In q4
// all matrices of the layers are q4, ragged ones too.
class RandomModel {
 public:
  RandomModel(const Config& config, DType dtype);

  Weights load(Backend& backend) const;

  const Config config;
  const DType dtype;
  HostMatrix token_embeddings;
  HostMatrix lm_head;  // the embeddings, when they are shared
  std::vector<HostLayer> layers;
  std::vector<float> norm;

 private:
  HostMatrix add_matrix(const std::string& name, int rows, int cols, DType dtype);
  std::vector<float> add_vector(const std::string& name, int size);

  std::vector<TensorSource> tensors_;
};

// A float32 tensor in memory, to load into a backend.
TensorSource host_vector(const std::vector<float>& values);

// Uniform in [-1, 1), the same sequence on every run, and after every seed.
// test/helpers/oracle-file.ts has the same numbers.
void seed_random(uint32_t seed);
float random_value();
std::vector<float> random_values(size_t count);

}  // namespace openelm::test
