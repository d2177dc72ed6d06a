#include "device_batch.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../model/kv_cache.h"

namespace openelm::cuda {

static size_t caches_offset(int columns, int max_tokens) {
  const size_t bytes = size_t(columns) * max_tokens * sizeof(int);
  return (bytes + sizeof(CachePointers) - 1) / sizeof(CachePointers) * sizeof(CachePointers);
}

DeviceBatch::DeviceBatch(int max_tokens, int num_layers)
    : max_tokens_(max_tokens), num_layers_(num_layers) {
  const size_t bytes =
      caches_offset(kColumns, max_tokens) + size_t(max_tokens) * num_layers * sizeof(CachePointers);
  host_ = allocate_pinned(bytes);
  device_ = allocate_device(bytes);
  view_.tokens = device_column(kTokens);
  view_.positions = device_column(kPositions);
  view_.sessions = device_column(kSessions);
  view_.lone_tokens = device_column(kLoneTokens);
  view_.runs = reinterpret_cast<const Run*>(device_column(kRuns));
  view_.caches = device_caches();
  view_.num_layers = num_layers;
}

CachePointers* DeviceBatch::host_caches() const {
  return reinterpret_cast<CachePointers*>(static_cast<char*>(host_.get()) +
                                          caches_offset(kColumns, max_tokens_));
}

CachePointers* DeviceBatch::device_caches() const {
  return reinterpret_cast<CachePointers*>(static_cast<char*>(device_.get()) +
                                          caches_offset(kColumns, max_tokens_));
}

void DeviceBatch::copy(const Stream& stream, const void* from, size_t bytes) {
  const ptrdiff_t offset = static_cast<const char*>(from) - static_cast<const char*>(host_.get());
  check(cudaMemcpyAsync(static_cast<char*>(device_.get()) + offset, from, bytes,
                        cudaMemcpyHostToDevice, stream.get()),
        "copy a batch");
}

void DeviceBatch::upload(const Stream& stream, const Batch& batch, bool tiles) {
  uploaded_.wait();  // or the copies of the batch before would see this one
  view_.num_tokens = batch.size();
  std::copy(batch.tokens.begin(), batch.tokens.end(), column(kTokens));
  std::copy(batch.positions.begin(), batch.positions.end(), column(kPositions));
  std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), column(kLogitRows));
  std::copy(batch.draws.begin(), batch.draws.end(), host_draws());
  const int sessions = fill_sessions(batch);
  fill_runs(batch, tiles);
  copy(stream, host_.get(), size_t(kColumns) * max_tokens_ * sizeof(int));
  copy(stream, host_caches(), size_t(sessions) * num_layers_ * sizeof(CachePointers));
  uploaded_.record(stream);
  step_position_ = kUnknown;
}

void DeviceBatch::upload_step(const Stream& stream, const Batch& batch) {
  const int position = batch.positions[0];
  if (step_position_ == kUnknown) {
    upload(stream, batch, false);
    step_caches_.clear();
  }
  uploaded_.wait();
  column(kTokens)[0] = batch.tokens[0];
  copy(stream, column(kTokens), sizeof(int));
  if (step_position_ != position - 1) {
    column(kPositions)[0] = position - 1;
    copy(stream, column(kPositions), sizeof(int));
  }
  if (!batch.draws.empty() &&
      std::memcmp(host_draws(), batch.draws.data(), sizeof(DrawArgs)) != 0) {
    host_draws()[0] = batch.draws[0];
    copy(stream, host_draws(), sizeof(DrawArgs));
  }
  fill_sessions(batch);
  const std::vector<CachePointers> caches(host_caches(), host_caches() + num_layers_);
  if (step_caches_ != caches) {
    copy(stream, host_caches(), num_layers_ * sizeof(CachePointers));
    step_caches_ = caches;
  }
  uploaded_.record(stream);
  step_position_ = position - 1;
}

const int32_t* DeviceBatch::read_sampled(const Stream& stream, int count) const {
  check(cudaMemcpyAsync(column(kSampled), sampled(), size_t(count) * sizeof(int),
                        cudaMemcpyDeviceToHost, stream.get()),
        "copy tokens");
  stream.synchronize();
  return column(kSampled);
}

int DeviceBatch::fill_sessions(const Batch& batch) {
  std::vector<const KvCache*> sessions;
  for (int t = 0; t < batch.size(); ++t) {
    const KvCache* const cache = batch.caches[t];
    auto found = std::find(sessions.begin(), sessions.end(), cache);
    if (found == sessions.end()) {
      CachePointers* const pointers = host_caches() + sessions.size() * num_layers_;
      for (int layer = 0; layer < num_layers_; ++layer) {
        pointers[layer] = {cache->k(layer), cache->v(layer)};
      }
      found = sessions.insert(sessions.end(), cache);
    }
    column(kSessions)[t] = int(found - sessions.begin());
  }
  return int(sessions.size());
}

void DeviceBatch::fill_runs(const Batch& batch, bool tiles) {
  Run* const runs = reinterpret_cast<Run*>(column(kRuns));
  view_.num_lone_tokens = 0;
  view_.num_runs = 0;
  view_.longest_run = 0;
  for (int first = 0; first < batch.size();) {
    int end = first + 1;
    while (end < batch.size() && batch.caches[end] == batch.caches[first] &&
           batch.positions[end] == batch.positions[end - 1] + 1) {
      ++end;
    }
    if (tiles && end - first > 1) {
      runs[view_.num_runs++] = {first, end - first};
      view_.longest_run = std::max(view_.longest_run, end - first);
    } else {
      for (int t = first; t < end; ++t) column(kLoneTokens)[view_.num_lone_tokens++] = t;
    }
    first = end;
  }
}

}  // namespace openelm::cuda
