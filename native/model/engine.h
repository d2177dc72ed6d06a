#pragma once

#include <atomic>
#include <memory>
#include <mutex>
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
};

// A loaded model: its backend, weights and scheduler, which end together.
class Engine {
 public:
  // Throws Error{kBackendUnavailable, kInvalidCheckpoint, kIoError, kOutOfMemory, kAborted}.
  Engine(const EngineOptions& options, LoadProgress& progress);
  ~Engine() { dispose(); }

  // Ends all requests and the thread, and gives the memory of the weights back; that of a cache
  // goes with the cache. Idempotent. Any thread but the scheduler's.
  void dispose();

  // These throw Error{kDisposed} after dispose().
  std::shared_ptr<KvCache> create_cache(int context_length);
  void submit(std::shared_ptr<Request> request);

  // Makes the request end soon with Error{kAborted}, if it is still under way.
  void cancel(Request& request);

  const Config& config() const { return weights_.config; }
  const std::string& device() const { return device_; }
  size_t weight_bytes() const { return weight_bytes_; }
  size_t kv_cache_bytes() const { return *kv_cache_bytes_; }

 private:
  const std::shared_ptr<Backend> backend_;
  const std::string device_;
  Weights weights_;
  const size_t weight_bytes_;
  // Of the caches that live; shared with them, since a cache may outlive the engine.
  const std::shared_ptr<std::atomic<size_t>> kv_cache_bytes_;
  std::mutex mutex_;
  std::unique_ptr<Scheduler> scheduler_;  // guarded by mutex_; null once disposed
};

}  // namespace openelm
