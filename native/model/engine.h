#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kv_cache.h"
#include "scheduler.h"

namespace openelm {

struct EngineOptions {
  Config config;
  std::vector<TensorSource> tensors;
  DType dtype = DType::kFloat32;
  std::string backend;
  int device_index = 0;
  int threads = 1;
  std::optional<DType> kv_cache_dtype;  // kFloat32 or kFloat16; else default_kv_cache_dtype()
};

// A loaded model: its backend, weights and scheduler, which end together.
class Engine {
 public:
  // Throws Error{kBackendUnavailable, kInvalidCheckpoint, kIoError, kOutOfMemory, kAborted}.
  Engine(const EngineOptions& options, LoadProgress& progress);
  ~Engine() { dispose(); }

  // Ends all requests and threads, and gives the memory of the weights and caches back. Idempotent.
  // Any thread but the scheduler's.
  void dispose();

  // These throw Error{kDisposed} after dispose().
  std::shared_ptr<KvCache> create_cache(int context_length);
  // A cache of the same length that has the positions of one without a request under way, which may
  // go on at once: they are copied before the next request of either.
  std::shared_ptr<KvCache> fork_cache(const std::shared_ptr<KvCache>& from);
  void submit(std::shared_ptr<Request> request);

  // See Scheduler::cancel().
  void cancel(Request& request);

  const Config& config() const { return config_; }
  const std::string& device() const { return device_; }
  size_t weight_bytes() const;  // 0 after dispose()
  size_t kv_cache_bytes() const { return *kv_cache_bytes_; }

 private:
  const Config config_;
  std::shared_ptr<Backend> backend_;  // null once disposed
  const std::string device_;
  Weights weights_;
  const size_t weight_bytes_;
  // Of the caches that live; shared with them, since a cache may outlive the engine.
  const std::shared_ptr<std::atomic<size_t>> kv_cache_bytes_;
  std::mutex disposing_;  // held until everything is given back
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<KvCache>> caches_;  // guarded by mutex_
  std::unique_ptr<Scheduler> scheduler_;        // guarded by mutex_; null once disposed
};

}  // namespace openelm
