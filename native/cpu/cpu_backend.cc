#include "cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "../error.h"
#include "pack.h"

namespace openelm::cpu {

CpuBackend::CpuBackend(int threads, DType kv_cache_dtype)
    : kernels_(cpu_kernels()),
      workers_(threads),
      kv_cache_dtype_(kv_cache_dtype),
      attention_scratch_(threads) {}

std::string CpuBackend::describe(int threads) {
  return std::string(cpu_kernels().name) + ", " + std::to_string(threads) +
         (threads == 1 ? " thread" : " threads");
}

std::string CpuBackend::device() const { return describe(workers_.pool.threads()); }

Buffer CpuBackend::allocate(size_t bytes) { return {allocate_pages(bytes), bytes}; }

void CpuBackend::upload(const void* from, size_t bytes, const Buffer& to) {
  std::memcpy(to.as<void>(), from, bytes);
}

void CpuBackend::download(const Buffer& from, size_t bytes, void* to) {
  std::memcpy(to, from.as<void>(), bytes);
}

void CpuBackend::copy(const Buffer& from, size_t bytes, const Buffer& to) {
  std::memcpy(to.as<void>(), from.as<void>(), bytes);
}

Matrix CpuBackend::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                               LoadProgress& progress) {
  const size_t bytes = packed_bytes(source.rows, source.cols, dtype, layout);
  const auto matrix = [&](const std::shared_ptr<void>& memory) {
    return Matrix{{memory, bytes}, source.rows, source.cols, dtype};
  };
  const bool is_packed = source.panels == layout && source.format == dtype;
  if (is_packed && source.offset % alignof(float) == 0) {
    if (const auto mapped = source.file->share(source.offset, bytes)) {
      progress.add(bytes);
      return matrix(mapped);
    }
  }
  const auto memory = weight_pages_.allocate(bytes);
  if (is_packed) {
    read_packed(source, bytes, progress, static_cast<char*>(memory.get()));
  } else {
    pack_panels(source, dtype, layout, workers_.pool, progress, memory.get());
  }
  return matrix(memory);
}

void CpuBackend::read_packed(const TensorSource& source, size_t bytes, LoadProgress& progress,
                             char* to) {
  constexpr size_t kChunk = size_t(1) << 20;
  workers_.pool.run_throwing(int((bytes + kChunk - 1) / kChunk), [&](int chunk, int) {
    progress.check();
    const size_t begin = chunk * kChunk;
    const size_t size = std::min(kChunk, bytes - begin);
    source.file->read(source.offset + begin, size, to + begin);
    progress.add(size);
  });
}

static size_t cache_bytes(int positions, int num_kv_heads, int width, DType dtype) {
  const int partitions = (positions + kPartition - 1) / kPartition;
  return bytes_of(dtype, size_t(partitions) * kPartition * num_kv_heads * width);
}

size_t CpuBackend::k_cache_bytes(const Config& config, int layer, int positions) const {
  return cache_bytes(positions, config.num_kv_heads[layer], config.head_dim, kv_cache_dtype_);
}

size_t CpuBackend::v_cache_bytes(const Config& config, int layer, int positions) const {
  return cache_bytes(positions, config.num_kv_heads[layer], padded_head_dim(config.head_dim),
                     kv_cache_dtype_);
}

void CpuBackend::use(const Weights& weights) {
  Backend::use(weights);
  rope_ = RopeTable<float>(0, weights.config.head_dim, weights.config.rope_freq_constant);
}

}  // namespace openelm::cpu
