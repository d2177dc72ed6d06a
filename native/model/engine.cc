#include "engine.h"

#include "../error.h"

namespace openelm {

static std::unique_ptr<Scheduler> start_scheduler(Backend& backend, const Weights& weights) {
  backend.weights = &weights;
  return std::make_unique<Scheduler>(backend, weights);
}

static Error disposed() { return Error(ErrorCode::kDisposed, "the model is disposed"); }

Engine::Engine(const EngineOptions& options, LoadProgress& progress)
    : backend_(create_backend(options.backend, options.device_index, options.threads)),
      device_(backend_->device()),
      weights_(load_weights(*backend_, options.config, options.tensors, options.dtype, progress)),
      weight_bytes_(weights_.bytes()),
      kv_cache_bytes_(std::make_shared<std::atomic<size_t>>(0)),
      scheduler_(start_scheduler(*backend_, weights_)) {}

void Engine::dispose() {
  std::unique_ptr<Scheduler> scheduler;
  {
    std::lock_guard lock(mutex_);
    scheduler = std::move(scheduler_);
  }
  if (!scheduler) return;
  scheduler.reset();
  Config config = std::move(weights_.config);
  weights_ = Weights();
  weights_.config = std::move(config);
}

std::shared_ptr<KvCache> Engine::create_cache(int context_length) {
  std::lock_guard lock(mutex_);
  if (!scheduler_) throw disposed();
  auto cache = std::make_unique<KvCache>(backend_, config(), context_length);
  *kv_cache_bytes_ += cache->bytes();
  return {cache.release(), [total = kv_cache_bytes_](KvCache* released) {
            *total -= released->bytes();
            delete released;
          }};
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
