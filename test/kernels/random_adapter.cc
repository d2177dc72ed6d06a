#include "random_adapter.h"

#include <cmath>

#include "model/load.h"
#include "tensors.h"

namespace openelm {

namespace {

// A matrix, of which the oracle keeps gate and up apart.
struct Parts {
  std::string name;
  std::vector<ReferenceMatrix*> matrices;

  int rows() const {
    size_t rows = 0;
    for (const ReferenceMatrix* matrix : matrices) rows += matrix->values.size();
    return int(rows);
  }
  int cols() const { return int(matrices[0]->values[0].size()); }
};

std::vector<Parts> parts_of(Reference& reference) {
  std::vector<Parts> parts = {{kEmbeddingsName, {&reference.token_embeddings}}};
  for (size_t i = 0; i < reference.layers.size(); ++i) {
    ReferenceLayer& layer = reference.layers[i];
    const std::string prefix = layer_prefix(int(i));
    parts.push_back({prefix + "attn.qkv_proj.weight", {&layer.qkv_proj}});
    parts.push_back({prefix + "attn.out_proj.weight", {&layer.out_proj}});
    parts.push_back({prefix + "ffn.proj_1.weight", {&layer.gate, &layer.up}});
    if (layer.gate.values.empty()) parts.back().matrices = {&layer.up};
    parts.push_back({prefix + "ffn.proj_2.weight", {&layer.proj_2}});
  }
  return parts;
}

double length_of(const Row& row) {
  double squares = 0;
  for (double value : row) squares += value * value;
  return std::sqrt(squares);
}

void adapt_row(std::vector<float>& row, int index, const AdapterTarget& target, double scale) {
  Row values(row.begin(), row.end());
  for (int k = 0; k < target.rank; ++k) {
    const double factor = scale * target.scale * target.b[size_t(index) * target.rank + k];
    for (size_t c = 0; c < row.size(); ++c) values[c] += factor * target.a[k * row.size() + c];
  }
  const double gain =
      target.magnitudes.empty() ? 1 : double(target.magnitudes[index]) / length_of(values);
  for (size_t c = 0; c < row.size(); ++c) row[c] = float(gain * values[c]);
}

}  // namespace

std::span<const float> RandomAdapter::keep(std::vector<float> values) {
  kept_.push_back(std::make_unique<std::vector<float>>(std::move(values)));
  return *kept_.back();
}

RandomAdapter::RandomAdapter(const Reference& base, const Options& options) {
  Reference reference = base;
  uint64_t seed = options.seed * 1000;
  for (const Parts& parts : parts_of(reference)) {
    const bool is_embedding = parts.name == kEmbeddingsName;
    if (is_embedding && !options.embedding) continue;
    const int rank = options.rank + int(seed % 3);
    const int rows = parts.rows();
    const int cols = parts.cols();
    const float std = options.fresh ? 0 : 0.5f;
    AdapterTarget target{parts.name, rank, 0.75f, {}, {}, {}};
    target.a = keep(random_floats(seed++, size_t(rank) * cols, 1 / std::sqrt(float(cols))));
    target.b = keep(random_floats(seed++, size_t(rows) * rank, std));
    if (options.dora && !is_embedding) {
      std::vector<float> magnitudes;
      for (const ReferenceMatrix* matrix : parts.matrices) {
        for (const std::vector<float>& row : matrix->values) {
          const double length = length_of({row.begin(), row.end()});
          const float noise = options.fresh ? 0 : 0.2f * random_float(seed, magnitudes.size());
          magnitudes.push_back(float(length * (1 + noise)));
        }
      }
      target.magnitudes = keep(std::move(magnitudes));
    }
    targets.push_back(target);
  }
}

void RandomAdapter::adapt(Reference& reference, bool adapts_head, float scale) const {
  for (const Parts& parts : parts_of(reference)) {
    for (const AdapterTarget& target : targets) {
      if (target.name != parts.name) continue;
      int index = 0;
      for (ReferenceMatrix* matrix : parts.matrices) {
        for (std::vector<float>& row : matrix->values) adapt_row(row, index++, target, scale);
      }
    }
  }
  if (adapts_head && reference.config.share_input_output_layers) {
    reference.lm_head = reference.token_embeddings;
  }
}

}  // namespace openelm
