#include "kv_cache.h"

#include "../backend.h"

namespace openelm {

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

KvCache::KvCache(std::shared_ptr<Backend> backend, const Config& config, int context_length)
    : backend_(std::move(backend)), config_(config), context_length_(context_length) {
  size_t bytes = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    k_offsets_.push_back(bytes);
    bytes += aligned(backend_->k_cache_bytes(config, layer, context_length));
    v_offsets_.push_back(bytes);
    bytes += aligned(backend_->v_cache_bytes(config, layer, context_length));
  }
  buffer_ = backend_->allocate(bytes);
}

void KvCache::copy_from(const KvCache& other, int positions) {
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    backend_->copy(k(layer), other.k(layer), backend_->k_cache_bytes(config_, layer, positions));
    backend_->copy(v(layer), other.v(layer), backend_->v_cache_bytes(config_, layer, positions));
  }
}

}  // namespace openelm
