#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine.h"
#include "tensor_source.h"

namespace openelm {

struct LoadOptions {
  Config config;
  std::vector<TensorSource> tensors;
  DType dtype = DType::kFloat32;
  std::string backend;
  int device_index = 0;
  int threads = 1;
  std::optional<DType> kv_cache_dtype;  // kFloat32 or kFloat16; else default_kv_cache_dtype()
};

// Throws what check() of the config throws, and Error{kBackendUnavailable, kInvalidCheckpoint,
// kIoError, kOutOfMemory, kAborted}.
std::shared_ptr<Engine> load_engine(const LoadOptions& options, LoadProgress& progress);

// What keys and values are stored as where the user does not say: as exact as the weights deserve.
// 16-bit weights are multiplied by float32 activations on the CPU, and by 16-bit ones on GPUs.
DType default_kv_cache_dtype(const std::string& backend, DType weights);

inline constexpr char kEmbeddingsName[] = "transformer.token_embeddings.weight";
inline constexpr char kHeadName[] = "lm_head.weight";
std::string layer_prefix(int layer);  // of the names of a layer's tensors

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
