#pragma once

#include <memory>
#include <vector>

#include "../backend.h"
#include "kernels.h"
#include "runtime.h"

namespace openelm::cuda {

// The batch under way in device memory.
class DeviceBatch {
 public:
  DeviceBatch(int max_tokens, int num_layers);

  // Copies what the device does not know of it. In one step after another that is nothing when the
  // token is the one that the step before has drawn; else it is the token, and the caches of
  // another session. With `tiles`, attention takes the tokens of a run together.
  void upload(const Stream& stream, const Batch& batch, bool tiles);

  // Whether it is one token of which logits or a draw are wanted.
  static bool is_step(const Batch& batch) {
    return batch.size() == 1 && batch.logit_rows.size() == 1;
  }

  const BatchView& view() const { return view_; }
  const int* logit_rows() const { return device_column(kLogitRows); }

  // What a draw reads, and where it leaves the tokens: on the host, whose page-locked memory
  // kernels reach at the same address. A step has those at slot_of_step(position): it may run
  // while the host still reads those of the step before.
  const DrawArgs* draws() const { return reinterpret_cast<const DrawArgs*>(column(kDraws)); }
  int32_t* sampled() const { return column(kSampled); }

  // Where the draw of a step leaves the token of the next one, and to be called when it has.
  BatchToken* next_token() const { return reinterpret_cast<BatchToken*>(device_column(kTokens)); }
  void step_drawn();

  // A step that runs ahead of the host: the draw of the one after that at `position`, whether a
  // batch is that one, after step_drawn(), and to be called when another has to take its place.
  void add_draw(int position, const DrawArgs& draw);
  bool is_ahead(const Batch& batch) const;
  void drop_step() { holds_step_ = false; }

 private:
  // Columns of the table of integers, each [max_tokens]; some take more than one. Those from kDraws
  // on are on the host alone.
  enum {
    kTokens,
    kSessions = kTokens + sizeof(BatchToken) / sizeof(int),
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
  BatchToken* host_tokens() const { return reinterpret_cast<BatchToken*>(column(kTokens)); }
  DrawArgs* host_draws() const { return reinterpret_cast<DrawArgs*>(column(kDraws)); }
  CachePointers* host_caches() const;
  CachePointers* device_caches() const;
  void copy(const Stream& stream, const void* from, size_t bytes);
  void upload_step(const Stream& stream, const Batch& batch);
  bool fill_caches(const KvCache& cache, int session);  // whether that changed them
  int fill_sessions(const Batch& batch);                // how many there are
  void fill_runs(const Batch& batch, bool tiles);

  const int max_tokens_;
  const int num_layers_;
  std::shared_ptr<void> host_;  // page-locked; the same layout as on the device
  // [kColumns, max_tokens] int, then [sessions, num_layers] CachePointers
  std::shared_ptr<void> device_;
  Event uploaded_;
  BatchView view_ = {};
  bool holds_step_ = false;  // the device, and the host knows its token
};

}  // namespace openelm::cuda
