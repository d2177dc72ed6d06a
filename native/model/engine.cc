#include "engine.h"

#include "../error.h"

namespace openelm {

static std::shared_ptr<Backend> create_backend(const EngineOptions& options) {
  check(options.config);
  const DType kv_cache_dtype =
      options.kv_cache_dtype.value_or(default_kv_cache_dtype(options.backend, options.dtype));
  std::shared_ptr<Backend> backend =
      create_backend(options.backend, options.device_index, options.threads, kv_cache_dtype);
  backend->require(options.config);
  return backend;
}

Engine::Engine(const EngineOptions& options, LoadProgress& progress)
    : config_(options.config),
      backend_(create_backend(options)),
      device_(backend_->device()),
      weights_(load_weights(*backend_, options.config, options.tensors, options.dtype, progress)),
      weight_bytes_(weights_.bytes()),
      scheduler_(std::make_shared<Scheduler>(*backend_, weights_)) {}

void Engine::dispose() {
  std::lock_guard disposing(disposing_);
  scheduler_->stop();
  std::vector<std::weak_ptr<KvCache>> caches;
  std::shared_ptr<Backend> backend;
  {
    std::lock_guard lock(mutex_);
    caches.swap(caches_);
    backend.swap(backend_);
  }
  for (const auto& weak : caches) {
    if (const auto cache = weak.lock()) cache->release();
  }
  weights_ = Weights();
}

std::shared_ptr<Stream> Engine::create_stream(int context_length) {
  const auto require_backend = [&] {
    if (!backend_) throw Error(ErrorCode::kDisposed, "the model is disposed");
    return backend_;
  };
  std::unique_lock lock(mutex_);
  const auto backend = require_backend();
  lock.unlock();
  const auto cache = std::make_shared<KvCache>(backend, config_, context_length);
  const auto stream = std::make_shared<Stream>(scheduler_, cache);
  lock.lock();
  require_backend();
  std::erase_if(caches_, [](const auto& weak) { return weak.expired(); });
  caches_.push_back(cache);
  return stream;
}

size_t Engine::weight_bytes() const {
  std::lock_guard lock(mutex_);
  return backend_ ? weight_bytes_ : 0;
}

size_t Engine::kv_cache_bytes() const {
  std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& weak : caches_) {
    if (const auto cache = weak.lock()) bytes += cache->bytes();
  }
  return bytes;
}

}  // namespace openelm
