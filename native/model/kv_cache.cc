#include "kv_cache.h"

#include <algorithm>

#include "../backend.h"
#include "../error.h"

namespace openelm {

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

KvCache::KvCache(std::shared_ptr<Backend> backend, const Config& config, int context_length)
    : backend_(std::move(backend)), config_(config) {
  size_t bytes = 0;
  const auto add = [&](std::vector<Buffer>& parts, size_t size) {
    parts.push_back({nullptr, size, bytes});
    bytes += aligned(size);
  };
  for (int layer = 0; layer < config.num_layers; ++layer) {
    add(k_, backend_->k_cache_bytes(config, layer, context_length));
    add(v_, backend_->v_cache_bytes(config, layer, context_length));
  }
  buffer_ = backend_->allocate(bytes);
  for (Buffer& part : k_) part = buffer_.part(part.offset, part.bytes);
  for (Buffer& part : v_) part = buffer_.part(part.offset, part.bytes);
}

void KvCache::copy_from(const KvCache& other, int positions) {
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    backend_->copy(other.k(layer), backend_->k_cache_bytes(config_, layer, positions), k(layer));
    backend_->copy(other.v(layer), backend_->v_cache_bytes(config_, layer, positions), v(layer));
  }
}

std::shared_ptr<KvCache> KvCaches::allocate(int context_length) {
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Backend> backend = backend_;
  const auto require_backend = [this] {
    if (!backend_) throw Error(ErrorCode::kDisposed, "the model is disposed");
  };
  require_backend();
  lock.unlock();
  std::list<std::shared_ptr<KvCache>> cache(1);
  try {
    cache.front() = std::make_shared<KvCache>(backend, config_, context_length);
  } catch (const Error&) {  // perhaps for lack of what has just been retired
    free_retired();
    cache.front() = std::make_shared<KvCache>(backend, config_, context_length);
  }
  lock.lock();
  require_backend();
  caches_.splice(caches_.end(), cache);
  return caches_.back();
}

void KvCaches::retire(const std::shared_ptr<KvCache>& cache) noexcept {
  std::lock_guard lock(mutex_);
  const auto found = std::find(caches_.begin(), caches_.end(), cache);
  if (found != caches_.end()) retired_.splice(retired_.end(), caches_, found);
}

bool KvCaches::has_retired() const {
  std::lock_guard lock(mutex_);
  return !retired_.empty();
}

void KvCaches::free_retired() {
  std::lock_guard freeing(freeing_);
  std::unique_lock lock(mutex_);
  while (!retired_.empty()) {
    std::shared_ptr<KvCache> cache = std::move(retired_.front());
    retired_.pop_front();
    const bool is_cleared = !backend_;
    lock.unlock();
    if (is_cleared) cache->release();
    cache = nullptr;
    lock.lock();
  }
}

void KvCaches::clear() {
  {
    std::lock_guard lock(mutex_);
    retired_.splice(retired_.end(), caches_);
    backend_ = nullptr;
  }
  free_retired();
}

size_t KvCaches::bytes() const {
  std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& cache : caches_) bytes += cache->bytes();
  return bytes;
}

}  // namespace openelm
