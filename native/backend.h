#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "draw_args.h"
#include "model/model.h"

namespace openelm {

struct Adapter;
struct AdaptedMatrix;
struct AdapterTarget;
class KvCache;
class LoadProgress;
struct TensorSource;

// Consecutive tokens of one session in a batch. Kernels read it as it is.
struct Run {
  int first_token;  // in the batch
  int num_tokens;
  int first_position;  // in the session
};

// The tokens of one forward pass, of one or several sessions: a chunk of a prompt, one token of
// each of many sessions, or both. Tokens of one session stand in order of their positions.
struct Batch {
  std::vector<int32_t> tokens;   // [T]
  std::vector<int> positions;    // [T], in the token's own session
  std::vector<KvCache*> caches;  // [T], of the token's own session
  // [T], of the token's own session: null for the model as it is. Or none at all, when all are.
  std::vector<const Adapter*> adapters;
  std::vector<int> logit_rows;  // [n], ascending: the tokens whose logits are wanted
  std::vector<DrawArgs> draws;  // [n] when a token of each row will do, else none
  // Of the next batch, where that is expected to be the one token that this one draws, in the same
  // session: the backend may then run it ahead of the caller. If another batch comes, it must be as
  // if it had not.
  std::optional<DrawArgs> next_draw;

  int size() const { return static_cast<int>(tokens.size()); }

  // Makes room for so many tokens, which are then added without an allocation.
  void reserve(int size) {
    tokens.reserve(size);
    positions.reserve(size);
    caches.reserve(size);
    adapters.reserve(size);
    logit_rows.reserve(size);
    draws.reserve(size);
  }
  void clear() {
    tokens.clear();
    positions.clear();
    caches.clear();
    adapters.clear();
    logit_rows.clear();
    draws.clear();
    next_draw.reset();
  }

  // Calls visit(run) for the longest runs there are, in order: each token is in one.
  template <typename Visit>
  void for_each_run(const Visit& visit) const {
    for (int first = 0, end = 1; first < size(); first = end++) {
      while (end < size() && follows(end)) ++end;
      visit(Run{first, end - first, positions[first]});
    }
  }

 private:
  bool follows(int token) const {
    return caches[token] == caches[token - 1] && positions[token] == positions[token - 1] + 1;
  }
};

// What a batch has come to, in host memory, valid until the next batch. At most one of the two is
// there; neither when the batch asks for no logits.
struct Output {
  const float* logits = nullptr;    // [n, V]
  const int32_t* tokens = nullptr;  // [n], drawn by batch.draws; -1 for a row without finite logit
};

// The op vocabulary: the one forward pass of model/decoder.cc in seven fused ops. A backend is a
// class that implements them; everything else about a model is shared.
//
// T tokens in a batch; in a layer: Hq query heads, Hkv KV heads, head width h, FFN width f; model
// width d; vocabulary V. Activations are float32, row-major, in buffers of the backend; a const
// Buffer is a handle that stays the same, whatever becomes of the memory. T == 1 means matvec,
// larger T matmul, inside the op.
//
// What is called on "the thread of the ops" is called by one thread at a time: the engine's once
// it runs, the loading one before.
class Backend {
 public:
  virtual ~Backend() = default;

  // What it runs on, for people.
  virtual std::string device() const = 0;

  // Throws Error{kBackendUnavailable} when the ops cannot run a model of this shape.
  virtual void require(const Config& /*config*/) const {}

  // Zeroed memory that the ops can use. Throws Error{kOutOfMemory}. Any thread may call it.
  virtual Buffer allocate(size_t bytes) = 0;

  // From host memory to the beginning of a buffer, back, and between two buffers. On the thread of
  // the ops, in order with them but not in a pass that asks replay(); done when they return.
  virtual void upload(const void* from, size_t bytes, const Buffer& to) = 0;
  virtual void download(const Buffer& from, size_t bytes, void* to) = 0;
  virtual void copy(const Buffer& from, size_t bytes, const Buffer& to) = 0;

  // Reads a matrix and packs it as the ops of this backend want it, stored as `dtype`. One caller
  // at a time.
  virtual Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                             LoadProgress& progress) = 0;

  // What an adapter makes of a matrix that is loaded in this layout, as the ops want it. Any thread
  // may call it, also while others run the ops. Throws Error{kOutOfMemory}, and kBackendUnavailable
  // where the ops know no adapters, as they need not: their batches then have none.
  virtual AdaptedMatrix adapt(const Matrix& matrix, MatrixLayout layout,
                              const AdapterTarget& target);

  // The bytes that the keys, and those that the values, of so many positions of a layer take in a
  // KV cache. Where each position lives is the backend's choice, but the first positions live in
  // the first bytes, so that these sizes say what to copy of a cache as well as what to allocate.
  virtual size_t k_cache_bytes(const Config& config, int layer, int positions) const = 0;
  virtual size_t v_cache_bytes(const Config& config, int layer, int positions) const = 0;

  // The most tokens of one batch: as many as it takes to keep the matrix units busy.
  virtual int max_batch_tokens() const { return 128; }

  // The weights of all passes from now on, which outlive them. A backend serves one decoder at a
  // time, whose constructor calls this: what was recorded for replay() is forgotten.
  virtual void use(const Weights& weights) { weights_ = &weights; }

  // A forward pass is begin(), replay(), the ops of all layers in order unless that has run them,
  // and end(). One that is given up before its end leaves nothing behind but, in the caches, keys
  // and values of the batch's own positions.

  // Once `cancelled` becomes true, ops may return early with useless results. It outlives the pass.
  virtual void begin(const Batch& batch, const std::atomic<bool>& cancelled) = 0;

  // Runs the whole pass, if the backend has recorded one like it; else it may record the ops that
  // follow.
  virtual bool replay(const Batch& /*batch*/) { return false; }

  // Rows of the embedding: tokens [T] -> x [T, d].
  virtual void embed(const Batch& batch, const Buffer& x) = 0;

  // RMSNorm, qkv_proj, per-head RMSNorm of q and k, RoPE; k and v go to the caches, where in
  // float16 a value beyond +-65504 becomes +-65504 (a NaN stays one): x -> q [T, Hq*h], not yet
  // scaled.
  virtual void norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x,
                        const Buffer& q) = 0;

  // Causal grouped-query attention of each token over its own session, with the scale 1/sqrt(h):
  // q, caches -> a [T, Hq*h].
  virtual void attention(const Layer& layer, const Batch& batch, const Buffer& q,
                         const Buffer& a) = 0;

  // x += out_proj(a).
  virtual void out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                            const Buffer& x) = 0;

  // RMSNorm, proj_1, SwiGLU (SiLU alone without GLU): x -> g [T, f].
  virtual void norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                           const Buffer& g) = 0;

  // x += proj_2(g).
  virtual void ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                            const Buffer& x) = 0;

  // Called when all ops of a layer have been. Where they run behind the caller's back they may be
  // started now, so that a pass that is given up has not run far ahead.
  virtual void end_layer(const Layer& /*layer*/, const Batch& /*batch*/) {}

  // Final RMSNorm and the output layer for the n tokens in batch.logit_rows: x -> logits [n, V].
  virtual void norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) = 0;

  // Waits for what the batch asked for: the logits, or the tokens that batch.draws takes from them,
  // where the backend can draw; it may then overwrite the logits.
  virtual Output end(const Batch& batch, const Buffer& logits) = 0;

  // body(task) for every task in [0, tasks), each once, on the host's threads, for what is done
  // with logits there. On the thread of the ops; the body must not throw.
  virtual void run_tasks(int tasks, const std::function<void(int)>& body) = 0;

 protected:
  const Weights* weights_ = nullptr;
};

struct BackendInfo {
  std::string name;    // "cpu", "cuda" or "metal"
  std::string device;  // set when available
  std::string reason;  // set when not
  bool available = false;
};

std::vector<BackendInfo> list_backends();

// The KV cache holds kv_cache_dtype, which is kFloat32 or kFloat16; `threads` are for the CPU.
// Throws Error{kBackendUnavailable}.
std::unique_ptr<Backend> create_backend(const std::string& name, int device_index, int threads,
                                        DType kv_cache_dtype);

}  // namespace openelm
