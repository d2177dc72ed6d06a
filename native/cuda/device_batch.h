#pragma once

#include <memory>
#include <vector>

#include "../model/batch.h"
#include "kernels.h"
#include "runtime.h"

namespace openelm::cuda {

// The batch under way in device memory.
class DeviceBatch {
 public:
  DeviceBatch(int max_tokens, int num_layers);

  // Copies all of it. With `tiles`, attention takes consecutive tokens of a session together.
  void upload(const Stream& stream, const Batch& batch, bool tiles);

  // Copies what the device does not know of a batch of one token that comes in a graph, which
  // counts its position up: the token, and a random number if one is drawn with it.
  void upload_step(const Stream& stream, const Batch& batch);

  // Says that the graph has been launched for the last upload_step().
  void step_launched() { ++step_position_; }

  const BatchView& view() const { return view_; }
  const int* logit_rows() const { return device_column(kLogitRows); }
  const DrawArgs* draws() const { return reinterpret_cast<const DrawArgs*>(device_column(kDraws)); }

  // Where kernels leave the tokens drawn, and the first of them on the host once all has run.
  int* sampled() const { return device_column(kSampled); }
  const int32_t* read_sampled(const Stream& stream, int count) const;

 private:
  // Columns of the table of integers, each [max_tokens]; some take more than one.
  enum {
    kTokens,
    kPositions,
    kSessions,
    kLoneTokens,
    kLogitRows,
    kRuns,
    kDraws = kRuns + sizeof(Run) / sizeof(int),
    kSampled = kDraws + sizeof(DrawArgs) / sizeof(int),
    kColumns
  };

  int* column(int which) const { return static_cast<int*>(host_.get()) + which * max_tokens_; }
  int* device_column(int which) const {
    return static_cast<int*>(device_.get()) + which * max_tokens_;
  }
  DrawArgs* host_draws() const { return reinterpret_cast<DrawArgs*>(column(kDraws)); }
  CachePointers* host_caches() const;
  CachePointers* device_caches() const;
  void copy(const Stream& stream, const void* from, size_t bytes);
  int fill_sessions(const Batch& batch);  // how many there are
  void fill_runs(const Batch& batch, bool tiles);

  const int max_tokens_;
  const int num_layers_;
  std::shared_ptr<void> host_;  // page-locked; the same layout as on the device
  std::shared_ptr<void>
      device_;  // [kColumns, max_tokens] int, [sessions, num_layers] CachePointers
  Event uploaded_;
  BatchView view_ = {};
  // What the device holds after the steps so far: the position, which the next step's graph is to
  // count up, and the caches of the session.
  static constexpr int kUnknown = -2;
  int step_position_ = kUnknown;
  std::vector<CachePointers> step_caches_;
};

}  // namespace openelm::cuda
