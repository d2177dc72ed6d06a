#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <vector>

#include "weights.h"

namespace openelm {

// The keys (after RoPE) and values of one session, sized exactly, layer by layer.
class KvCache {
 public:
  // Throws Error{kOutOfMemory}.
  KvCache(std::shared_ptr<Backend> backend, const Config& config, int context_length);

  // Takes the first positions of another cache of the same model and length, but for `position`. On
  // the thread of the ops.
  void copy_from(const KvCache& other, int positions);

  // Gives the memory back early; the cache can then only be destroyed.
  void release() {
    buffer_ = Buffer();
    backend_ = nullptr;
  }

  int context_length() const { return context_length_; }
  size_t bytes() const { return buffer_.bytes; }

  // In the layout and the type of the backend.
  void* k(int layer) const { return buffer_.as<char>() + k_offsets_[layer]; }
  void* v(int layer) const { return buffer_.as<char>() + v_offsets_[layer]; }

  std::atomic<int> position{0};  // tokens held
  std::exception_ptr failure;    // of a copy to this cache; the scheduler's own

 private:
  std::shared_ptr<Backend> backend_;
  const Config config_;
  const int context_length_;
  std::vector<size_t> k_offsets_;
  std::vector<size_t> v_offsets_;
  Buffer buffer_;
};

}  // namespace openelm
