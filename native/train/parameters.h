#pragma once

#include <cstddef>
#include <vector>

#include "../model/model.h"

namespace openelm::train {

struct MatrixShape {
  int rows;
  int cols;
};

// Tensors one behind the other in one array. Gradients and moments are arrays of the same layout.
struct Layout {
  struct Tensor {
    size_t begin;
    size_t end;
    bool is_matrix;
    MatrixShape shape;  // one row of a vector
  };

  std::vector<Tensor> tensors;

  size_t size() const { return tensors.empty() ? 0 : tensors.back().end; }
  // Return where it begins.
  size_t add_matrix(MatrixShape shape) { return add(shape, true); }
  size_t add_vector(int size) { return add({1, size}, false); }

 private:
  size_t add(MatrixShape shape, bool is_matrix);
};

// The matrices that a layer has, and the embedding, which is no layer's.
enum class Module : uint8_t { kEmbedding, kQkvProj, kOutProj, kProj1, kProj2 };
constexpr int kNumModules = 5;

MatrixShape shape_of(const Config& config, int layer, Module module);

// The weights of a model, matrices row-major, in the order of tensorSpecs in lib/config.ts.
struct Parameters : Layout {
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

  size_t token_embeddings;  // [V, d]
  std::vector<Layer> layers;
  size_t norm;     // [d]
  size_t lm_head;  // [V, d]; the token embeddings themselves when the layers are shared

  size_t matrix(int layer, Module module) const;
};

// A matrix that gets an adapter, and of which rank.
struct AdapterTarget {
  int layer = 0;  // -1 for the embedding
  Module module = Module::kQkvProj;
  int rank = 1;
  double scale = 1;
};

struct AdapterOptions {
  bool dora = false;                   // not of the embedding
  double dropout = 0;                  // of the inputs of adapted layers
  std::vector<AdapterTarget> targets;  // each matrix once; none: the weights themselves are trained
};

// The tensors of an adapter, target by target.
struct AdapterParameters : Layout {
  AdapterParameters(const Config& config, const AdapterOptions& options);

  struct Target : AdapterTarget {
    MatrixShape shape;  // [out, in] of the matrix W, which becomes W + scale * B * A
    size_t a;           // [rank, in]
    size_t b;           // [out, rank]
    size_t m;           // [out]: the magnitudes of DoRA
    bool has_m;
  };
  std::vector<Target> targets;

  // The index of a matrix's target, or -1.
  int find(int layer, Module module) const;
  int max_rank() const;
  // Below it nothing is trained, and no gradient is needed. -1 with the embedding.
  int lowest_layer() const;
};

// Throws Error{kInvalidArgument} for targets that the model does not have or that come twice, ranks
// below 1 or beyond the matrix, and a dropout that leaves nothing.
void check(const Config& config, const AdapterOptions& options);

}  // namespace openelm::train
