#pragma once

#include <memory>
#include <vector>

#include "weights.h"

namespace openelm {

// What keys and values are stored as where the user does not say: as exact as the weights deserve.
// 16-bit weights are multiplied by float32 activations on the CPU, and by 16-bit ones on GPUs.
DType default_kv_cache_dtype(const std::string& backend, DType weights);

// The keys (after RoPE) and values of one session, sized exactly, layer by layer.
class KvCache {
 public:
  // The config must stay as long as anything is copied. Throws Error{kOutOfMemory}.
  KvCache(std::shared_ptr<Backend> backend, const Config& config, int context_length);

  // Takes the first positions of another cache of the same model and length. On the thread of the
  // ops.
  void copy_from(const KvCache& other, int positions);

  // Gives the memory back early; the cache can then only be destroyed.
  void release() {
    k_.clear();
    v_.clear();
    buffer_ = Buffer();
    backend_ = nullptr;
  }

  int context_length() const { return context_length_; }
  size_t bytes() const { return buffer_.bytes; }

  // In the layout and the type of the backend.
  const Buffer& k(int layer) const { return k_[layer]; }
  const Buffer& v(int layer) const { return v_[layer]; }

 private:
  std::shared_ptr<Backend> backend_;
  const Config& config_;
  const int context_length_;
  Buffer buffer_;
  std::vector<Buffer> k_;  // parts of it, one per layer
  std::vector<Buffer> v_;
};

}  // namespace openelm
