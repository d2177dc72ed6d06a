#include "kv_cache.h"

#include "../backend.h"

namespace openelm {

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

KvCache::KvCache(Backend& backend, const Config& config, int context_length)
    : backend_(backend), config_(config), context_length_(context_length) {
  size_t bytes = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    k_offsets_.push_back(bytes);
    bytes += aligned(backend.k_cache_bytes(config, layer, context_length));
    v_offsets_.push_back(bytes);
    bytes += aligned(backend.v_cache_bytes(config, layer, context_length));
  }
  buffer_ = backend.allocate(bytes);
}

std::shared_ptr<KvCache> KvCache::fork() const {
  auto copy = std::make_shared<KvCache>(backend_, config_, context_length_);
  copy->position = position;
  if (position == 0) return copy;
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    backend_.copy(copy->k(layer), k(layer), backend_.k_cache_bytes(config_, layer, position));
    backend_.copy(copy->v(layer), v(layer), backend_.v_cache_bytes(config_, layer, position));
  }
  return copy;
}

}  // namespace openelm
