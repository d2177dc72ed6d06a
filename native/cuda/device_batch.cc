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

static CachePointers pointers_of(const KvCache& cache, int layer) {
  return {cache.k(layer).as<void>(), cache.v(layer).as<void>()};
}

DeviceBatch::DeviceBatch(int max_tokens, int num_layers)
    : max_tokens_(max_tokens), num_layers_(num_layers) {
  const size_t bytes =
      caches_offset(kColumns, max_tokens) + size_t(max_tokens) * num_layers * sizeof(CachePointers);
  host_ = allocate_pinned(bytes);
  device_ = allocate_device(bytes);
  view_.tokens = reinterpret_cast<const BatchToken*>(device_column(kTokens));
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
  uploaded_.wait("copy a batch");  // or the copies of the batch before would see this one
  if (is_step(batch) && !batch.draws.empty()) {
    add_draw(batch.positions[0], batch.draws[0]);
  } else {
    std::copy(batch.draws.begin(), batch.draws.end(), host_draws());
  }
  if (holds_step_ && is_step(batch)) {
    upload_step(stream, batch);
  } else {
    view_.num_tokens = batch.size();
    for (int t = 0; t < batch.size(); ++t) {
      host_tokens()[t] = {batch.tokens[t], batch.positions[t]};
    }
    std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), column(kLogitRows));
    const int sessions = fill_sessions(batch);
    view_.one_per_session = sessions == batch.size();
    fill_runs(batch, tiles);
    copy(stream, host_.get(), size_t(kDraws) * max_tokens_ * sizeof(int));
    copy(stream, host_caches(), size_t(sessions) * num_layers_ * sizeof(CachePointers));
  }
  uploaded_.record(stream);
  holds_step_ = is_step(batch) && batch.draws.empty();
}

void DeviceBatch::upload_step(const Stream& stream, const Batch& batch) {
  const BatchToken token = {batch.tokens[0], batch.positions[0]};
  if (host_tokens()[0] != token) {
    host_tokens()[0] = token;
    copy(stream, host_tokens(), sizeof token);
  }
  if (fill_caches(*batch.caches[0], 0)) {
    copy(stream, host_caches(), num_layers_ * sizeof(CachePointers));
  }
}

void DeviceBatch::step_drawn() {
  const int position = host_tokens()[0].position;
  host_tokens()[0] = {sampled()[slot_of_step(position)], position + 1};
  holds_step_ = true;
}

void DeviceBatch::add_draw(int position, const DrawArgs& draw) {
  host_draws()[slot_of_step(position)] = draw;
}

bool DeviceBatch::is_ahead(const Batch& batch) const {
  if (!holds_step_ || !is_step(batch) || batch.draws.empty()) return false;
  const BatchToken token = {batch.tokens[0], batch.positions[0]};
  return host_tokens()[0] == token && host_caches()[0] == pointers_of(*batch.caches[0], 0) &&
         std::memcmp(&host_draws()[slot_of_step(token.position)], &batch.draws[0],
                     sizeof(DrawArgs)) == 0;
}

bool DeviceBatch::fill_caches(const KvCache& cache, int session) {
  CachePointers* const pointers = host_caches() + size_t(session) * num_layers_;
  bool changed = false;
  for (int layer = 0; layer < num_layers_; ++layer) {
    const CachePointers now = pointers_of(cache, layer);
    changed |= pointers[layer] != now;
    pointers[layer] = now;
  }
  return changed;
}

int DeviceBatch::fill_sessions(const Batch& batch) {
  std::vector<const KvCache*> sessions;
  for (int t = 0; t < batch.size(); ++t) {
    const KvCache* const cache = batch.caches[t];
    auto found = std::find(sessions.begin(), sessions.end(), cache);
    if (found == sessions.end()) {
      fill_caches(*cache, int(sessions.size()));
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
  batch.for_each_run([&](const Run& run) {
    if (tiles && run.num_tokens > 1) {
      runs[view_.num_runs++] = run;
      view_.longest_run = std::max(view_.longest_run, run.num_tokens);
      return;
    }
    for (int i = 0; i < run.num_tokens; ++i) {
      column(kLoneTokens)[view_.num_lone_tokens++] = run.first_token + i;
    }
  });
}

}  // namespace openelm::cuda
