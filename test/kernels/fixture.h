#pragma once

#include <climits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "reference.h"

namespace openelm {

// Random models on any backend, beside the oracle. All that tests of ops and of whole models do
// with a Backend is done here.

inline const std::atomic<bool> kNotCancelled{false};

// In a backend, and as the oracle sees it. Its matrices are all of `dtype`, although models keep
// some as q8 in place of q4.
struct Model {
  Model(const TestBackend& backend, const Config& config, DType dtype,
        const std::vector<TensorSource>& tensors, int max_reference_rows = INT_MAX);
  Model(const Model&) = delete;

  const Config config;
  const Tolerances tolerances;
  const std::shared_ptr<Backend> backend;
  const Weights weights;
  const Reference reference;
};

struct Session {
  std::unique_ptr<KvCache> cache;
  ReferenceSession reference;
  int position = 0;
  const Adapter* adapter = nullptr;
  const Reference* oracle = nullptr;  // of the model with the adapter
};

class Sessions {
 public:
  Sessions(const Model& model, int context_length)
      : model_(model), context_length_(context_length) {}

  Session& session(int index);
  void fork(int from, int to);
  void rewind(int index, int position);
  void adapt(int index, const Adapter& adapter, const Reference& oracle);

 protected:
  // Adds a token to a batch and moves its session on.
  void add(Batch& batch, Session& session, int token) const;

  const Model& model_;

 private:
  const int context_length_;
  std::map<int, Session> sessions_;
};

// Consecutive tokens of one session in a batch.
struct Segment {
  int session;
  int count;
};

struct OpError {
  double error = 0;     // relative, see relative_error()
  double of_limit = 0;  // the error in parts of what is allowed
};
using OpErrors = std::map<std::string, OpError>;  // by op

// Runs every op of every layer over batches, each op on inputs of its own, and keeps the worst
// error of each in `errors`. The keys and values that attention reads are those that norm_qkv
// wrote.
class OpRun : public Sessions {
 public:
  OpRun(const Model& model, OpErrors& errors) : Sessions(model, 80), errors_(errors) {}

  void batch(const std::vector<Segment>& segments);

 private:
  // Of each token; x is there for an op that adds to it.
  struct Inputs {
    Rows in, x;
  };
  using Run = std::function<void(const Buffer& in, const Buffer& out)>;
  using Want = std::function<Row(int row)>;

  void embed();
  void layer_ops(const Layer& layer);
  void norm_logits(std::vector<int> logit_rows);
  Rows random_rows(int cols, float std = 1);

  // Compares an op's output [rows, cols] with the rows of the oracle, which knows all elements or
  // those of the rows of a matrix.
  void compare(const std::string& op, const Inputs& inputs, int rows, int cols, double limit,
               const ReferenceMatrix* known, const Run& run, const Want& want);
  double matrix_limit(size_t rows) const {
    return rows == 1 ? model_.tolerances.matvec : model_.tolerances.matmul;
  }

  OpErrors& errors_;
  Batch batch_;
  std::vector<Session*> owners_;  // of the batch's tokens
  bool is_adapted_ = false;       // any of them
  uint64_t seed_ = 1000;
};

// Runs whole batches through the decoder.
class ModelRun : public Sessions {
 public:
  explicit ModelRun(const Model& model, int context_length = 512);

  // Of the batches of run().
  std::optional<DrawArgs> next_draw;

  // Appends tokens of one session: the logits of the last, or what `draws` makes of them.
  Output run(int session, const std::vector<int>& tokens, const std::vector<DrawArgs>& draws = {},
             const std::atomic<bool>& cancelled = kNotCancelled);
  const float* append(int session, const std::vector<int>& tokens) {
    return run(session, tokens).logits;
  }
  // The oracle's logits of the last of some tokens.
  Row expected(int session, const std::vector<int>& tokens);

  // Both, compared.
  void compare(int session, const std::vector<int>& tokens, const std::string& what);
  // A likeliest token is drawn after one more, by GPUs themselves.
  void compare_draw(int session, int token, const std::string& what);

  // One with activations of its own.
  void renew_decoder();

 private:
  std::unique_ptr<Decoder> decoder_;
};

// A token for each row of logits, drawn by the backend of a model; none when it leaves that to the
// host.
std::vector<int> draw_tokens(const Model& model, const std::vector<std::vector<float>>& rows,
                             const std::vector<DrawArgs>& draws);

}  // namespace openelm
