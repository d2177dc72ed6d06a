#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "model.h"

namespace openelm {

class Backend;

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

  size_t bytes() const { return buffer_.bytes; }

  // In the layout and the type of the backend.
  const Buffer& k(int layer) const { return k_[layer]; }
  const Buffer& v(int layer) const { return v_[layer]; }

 private:
  std::shared_ptr<Backend> backend_;
  const Config& config_;
  Buffer buffer_;
  std::vector<Buffer> k_;  // parts of it, one per layer
  std::vector<Buffer> v_;
};

// The caches of a model's streams. Any thread may call it.
class KvCaches {
 public:
  // The config must stay as long as the caches.
  KvCaches(std::shared_ptr<Backend> backend, const Config& config)
      : backend_(std::move(backend)), config_(config) {}

  // Throws Error{kOutOfMemory}, and kDisposed after clear().
  std::shared_ptr<KvCache> allocate(int context_length);

  // Takes one back, which does not count any more. It is freed by free_retired(), because that may
  // take long; once this returns it has been, whichever thread has done so.
  void retire(const std::shared_ptr<KvCache>& cache) noexcept;
  bool has_retired() const;
  void free_retired();

  // Frees all, although they may still be referred to.
  void clear();

  size_t bytes() const;

 private:
  std::shared_ptr<Backend> backend_;  // guarded by mutex_; null after clear()
  const Config& config_;
  std::mutex freeing_;  // held while memory is given back
  mutable std::mutex mutex_;
  std::list<std::shared_ptr<KvCache>> caches_;  // guarded by mutex_, like
  std::list<std::shared_ptr<KvCache>> retired_;
};

}  // namespace openelm
