#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "model/kv_cache.h"
#include "reference.h"

namespace openelm {

using Rows = std::vector<Row>;

// Consecutive tokens of one session in a batch.
struct Segment {
  int session;
  int count;
};

struct Session {
  std::shared_ptr<KvCache> cache;
  std::vector<Rows> keys;    // [layer][position]: [Hkv*h], after RoPE
  std::vector<Rows> values;  // [layer][position]: [Hkv*h]
};

// Runs every op of every layer over batches, each op on inputs of its own, and keeps the largest
// error of each. The keys and values that attention reads are those that norm_qkv wrote.
class OpRun {
 public:
  OpRun(std::shared_ptr<Backend> backend, const Weights& weights, const ReferenceModel& reference)
      : backend_(std::move(backend)),
        weights_(weights),
        reference_(reference),
        config_(weights.config) {
    backend_->use(weights);
  }

  void batch(const std::vector<Segment>& segments);
  void fork(int from, int to);
  void rewind(int session, int position);

  std::map<std::string, double> errors;

 private:
  static constexpr int kContextLength = 80;
  static constexpr int kGuard = 64;  // elements behind a buffer that no op may touch

  Session& session(int index);
  Batch make_batch(const std::vector<Segment>& segments);
  void embed(const Batch& batch);
  void norm_qkv(const Layer& layer, const Batch& batch);
  void attention(const Layer& layer, const Batch& batch);
  void out_proj_add(const Layer& layer, const Batch& batch);
  void norm_swiglu(const Layer& layer, const Batch& batch);
  void ffn_down_add(const Layer& layer, const Batch& batch);
  void norm_logits(const Batch& batch);

  Buffer upload(const Rows& rows);
  Buffer upload(std::vector<float> values);
  Buffer make_output(int rows, int cols) {
    return upload(std::vector<float>(size_t(rows) * cols, NAN));
  }
  Rows download(const Buffer& buffer, int rows, int cols);

  Rows random_rows(int rows, int cols, float std = 1);
  void compare(const std::string& op, const Row& got, const Row& want);
  void compare_rows(const std::string& op, const Row& got, const std::vector<int>& rows,
                    const Row& want);

  const std::shared_ptr<Backend> backend_;
  const Weights& weights_;
  const ReferenceModel& reference_;
  const Config& config_;
  std::map<int, Session> sessions_;
  std::map<const KvCache*, Session*> owners_;
  uint64_t seed_ = 1000;
};

}  // namespace openelm
