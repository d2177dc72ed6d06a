#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

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
  // Throws what check() of the config throws, and Error{kBackendUnavailable, kInvalidCheckpoint,
  // kIoError, kOutOfMemory, kAborted}.
  Engine(const EngineOptions& options, LoadProgress& progress);
  ~Engine() { dispose(); }

  // Ends all jobs and threads, and gives the memory of the weights and caches back. Idempotent. Any
  // thread but the scheduler's.
  void dispose();

  // Throws Error{kOutOfMemory}, and kDisposed after dispose().
  std::shared_ptr<Stream> create_stream(int context_length);

  const Config& config() const { return config_; }
  const std::string& device() const { return device_; }
  size_t weight_bytes() const;  // 0 after dispose(), like
  size_t kv_cache_bytes() const;

 private:
  const Config config_;
  std::shared_ptr<Backend> backend_;  // guarded by mutex_; null once disposed
  const std::string device_;
  Weights weights_;
  const size_t weight_bytes_;
  const std::shared_ptr<Scheduler> scheduler_;
  std::mutex disposing_;                        // held until everything is given back
  mutable std::mutex mutex_;                    // held for no allocation of a backend
  std::vector<std::weak_ptr<KvCache>> caches_;  // guarded by mutex_
};

}  // namespace openelm
