#include "kv_cache.h"

#include "../backend.h"

namespace openelm {

DType default_kv_cache_dtype(const std::string& backend, DType weights) {
  if (weights == DType::kFloat32) return DType::kFloat32;
  return backend == "cpu" && !is_quantized(weights) ? DType::kFloat32 : DType::kFloat16;
}

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

KvCache::KvCache(std::shared_ptr<Backend> backend, const Config& config, int context_length)
    : backend_(std::move(backend)), config_(config), context_length_(context_length) {
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

}  // namespace openelm
