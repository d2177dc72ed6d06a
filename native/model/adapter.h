#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "model.h"

namespace openelm {

class Backend;

// A product of two thin matrices that is added to a matrix W [rows, cols] of a model.
struct LowRank {
  Matrix a;  // [r, cols], float32
  Matrix b;  // [rows, r], float32, in the layout of W
  float scale = 1;
};

// What an adapter makes of W: W + scale * B * A, for one addition or the sum of several, and with
// DoRA each row of that times a gain.
struct AdaptedMatrix {
  std::vector<LowRank> additions;  // none where the adapter leaves W as it is
  std::vector<float> gains;        // in the order of W's rows in memory; none without DoRA
};

struct AdaptedLayer {
  AdaptedMatrix qkv_proj, out_proj, proj_1, proj_2;
};

// A LoRA or DoRA adapter, or several at once.
struct Adapter {
  AdaptedMatrix token_embeddings;
  std::vector<AdaptedLayer> layers;
  AdaptedMatrix lm_head;

  size_t bytes() const;  // of memory held
  bool has_gains() const;
};

// What an adapter's file says of one matrix.
struct AdapterTarget {
  std::string name;  // of the matrix in a checkpoint
  int rank = 0;
  float scale = 1;
  std::span<const float> a;           // [rank, cols]
  std::span<const float> b;           // [rows, rank]
  std::span<const float> magnitudes;  // [rows]; none without DoRA
};

// The adapters of a model. Any thread may call it.
class Adapters {
 public:
  // The weights must stay until clear().
  Adapters(std::shared_ptr<Backend> backend, const Weights& weights)
      : backend_(std::move(backend)), weights_(weights) {}

  struct Loaded {
    int id;
    size_t bytes;
  };

  // With `adapts_head` an output layer that is the embedding is adapted as that is. Throws
  // Error{kInvalidArgument} for what is no target of the model, kBackendUnavailable where the
  // backend runs no adapters, kOutOfMemory, and kDisposed after clear().
  Loaded load(const std::vector<AdapterTarget>& targets, bool adapts_head);

  // What uses the adapter keeps it alive.
  void unload(int id);

  struct Part {
    int id;
    float scale;
  };

  // One of them, or the sum of several at these scales; null for none. One that has gains stands
  // alone, at scale 1. Throws Error{kInvalidArgument}, and kDisposed after clear().
  std::shared_ptr<const Adapter> find(std::span<const Part> parts);

  // Gives all memory back, although it may still be referred to, and ends what is loading.
  void clear();

 private:
  // While mutex_ is held.
  void require_model() const;
  void watch(const std::shared_ptr<Adapter>& adapter);  // to be cleared by clear()

  std::atomic<bool> is_cleared_{false};
  std::mutex mutex_;
  std::shared_ptr<Backend> backend_;  // guarded by mutex_, like all that follows
  const Weights& weights_;
  int last_id_ = 0;
  std::map<int, std::shared_ptr<Adapter>> loaded_;
  std::vector<std::weak_ptr<Adapter>> all_;  // also those that were unloaded, and sums
};

}  // namespace openelm
