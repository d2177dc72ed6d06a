#include "engine.h"

#include "../error.h"

namespace openelm {

static std::unique_ptr<Scheduler> start_scheduler(Backend& backend, const Weights& weights) {
  return std::make_unique<Scheduler>(backend, weights);
}

static std::shared_ptr<Backend> create_backend(const EngineOptions& options) {
  const DType kv_cache_dtype =
      options.kv_cache_dtype.value_or(default_kv_cache_dtype(options.backend, options.dtype));
  std::shared_ptr<Backend> backend =
      create_backend(options.backend, options.device_index, options.threads, kv_cache_dtype);
  backend->require(options.config);
  return backend;
}

static Error disposed() { return Error(ErrorCode::kDisposed, "the model is disposed"); }

Engine::Engine(const EngineOptions& options, LoadProgress& progress)
    : config_(options.config),
      backend_(create_backend(options)),
      device_(backend_->device()),
      weights_(load_weights(*backend_, options.config, options.tensors, options.dtype, progress)),
      weight_bytes_(weights_.bytes()),
      kv_cache_bytes_(std::make_shared<std::atomic<size_t>>(0)),
      scheduler_(start_scheduler(*backend_, weights_)) {}

void Engine::dispose() {
  std::lock_guard disposing(disposing_);
  std::unique_ptr<Scheduler> scheduler;
  {
    std::lock_guard lock(mutex_);
    scheduler = std::move(scheduler_);
  }
  if (!scheduler) return;
  scheduler.reset();
  std::lock_guard lock(mutex_);
  for (const auto& weak : caches_) {
    const auto cache = weak.lock();
    if (!cache) continue;
    *kv_cache_bytes_ -= cache->bytes();
    cache->release();
  }
  caches_.clear();
  weights_ = Weights();
  backend_ = nullptr;
}

std::shared_ptr<KvCache> Engine::create_cache(int context_length) {
  std::lock_guard lock(mutex_);
  if (!scheduler_) throw disposed();
  auto created = std::make_unique<KvCache>(backend_, config_, context_length);
  *kv_cache_bytes_ += created->bytes();
  const std::shared_ptr<KvCache> cache(created.release(),
                                       [total = kv_cache_bytes_](KvCache* released) {
                                         *total -= released->bytes();
                                         delete released;
                                       });
  std::erase_if(caches_, [](const auto& weak) { return weak.expired(); });
  caches_.push_back(cache);
  return cache;
}

std::shared_ptr<KvCache> Engine::fork_cache(const std::shared_ptr<KvCache>& from) {
  const auto cache = create_cache(from->context_length());
  std::lock_guard lock(mutex_);
  if (!scheduler_) throw disposed();
  cache->position = from->position.load();
  scheduler_->submit_copy(cache, from, cache->position);
  return cache;
}

size_t Engine::weight_bytes() const {
  std::lock_guard lock(mutex_);
  return scheduler_ ? weight_bytes_ : 0;
}

void Engine::submit(std::shared_ptr<Request> request) {
  std::lock_guard lock(mutex_);
  if (!scheduler_) throw disposed();
  scheduler_->submit(std::move(request));
}

void Engine::cancel(Request& request) {
  std::lock_guard lock(mutex_);
  if (scheduler_) scheduler_->cancel(request);
}

}  // namespace openelm
