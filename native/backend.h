#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "host_threads.h"
#include "model/batch.h"
#include "model/weights.h"

namespace openelm {

// The op vocabulary: the one forward pass of model/decoder.cc in seven fused ops. A backend is a
// class that implements them; everything else about a model is shared.
//
// T tokens in a batch; in a layer: Hq query heads, Hkv KV heads, head width h, FFN width f; model
// width d; vocabulary V. Activations are float32, row-major, in the backend's own memory. T == 1
// means matvec, larger T matmul, inside the op.
class Backend {
 public:
  virtual ~Backend() = default;

  // What it runs on, for people.
  virtual std::string device() const = 0;

  // Throws Error{kBackendUnavailable} when the ops cannot run a model of this shape.
  virtual void require(const Config& /*config*/) const {}

  // Zeroed memory that the ops can use. Throws Error{kOutOfMemory}. Any thread may call it.
  virtual Buffer allocate(size_t bytes) = 0;

  // Copies between two buffers of this backend, on the thread of the ops.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;

  // Reads a matrix and packs it as the ops of this backend want it, stored as `dtype`.
  virtual Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                             LoadProgress& progress) = 0;

  // Reads a norm weight as float32.
  virtual Buffer load_vector(const TensorSource& source, LoadProgress& progress) = 0;

  // Where position `pos` of a KV cache of `kv_dim` lives is the backend's choice; the sizes in
  // bytes of the keys and of the values of `context_length` positions are these, and a prefix of
  // positions is a prefix of bytes.
  virtual size_t k_cache_bytes(const Config& config, int layer, int positions) const = 0;
  virtual size_t v_cache_bytes(const Config& config, int layer, int positions) const = 0;

  // The most tokens of one batch: as many as it takes to keep the matrix units busy.
  virtual int max_batch_tokens() const { return 128; }

  // Called once before the ops of a batch.
  virtual void begin(const Batch& batch) = 0;

  // Rows of the embedding: tokens [T] -> x [T, d].
  virtual void embed(const Batch& batch, float* x) = 0;

  // RMSNorm, qkv_proj, per-head RMSNorm of q and k, RoPE; k and v go to the caches, where in
  // float16 a value beyond +-65504 becomes +-65504 (a NaN stays one): x -> q [T, Hq*h], not yet
  // scaled.
  virtual void norm_qkv(const Layer& layer, const Batch& batch, const float* x, float* q) = 0;

  // Causal grouped-query attention of each token over its own session, with the scale 1/sqrt(h):
  // q, caches -> a [T, Hq*h].
  virtual void attention(const Layer& layer, const Batch& batch, const float* q, float* a) = 0;

  // x += out_proj(a).
  virtual void out_proj_add(const Layer& layer, const Batch& batch, const float* a, float* x) = 0;

  // RMSNorm, proj_1, SwiGLU (SiLU alone without GLU): x -> g [T, f].
  virtual void norm_swiglu(const Layer& layer, const Batch& batch, const float* x, float* g) = 0;

  // x += proj_2(g).
  virtual void ffn_down_add(const Layer& layer, const Batch& batch, const float* g, float* x) = 0;

  // Final RMSNorm and the output layer for the n tokens in batch.logit_rows: x -> logits [n, V].
  virtual void norm_logits(const Batch& batch, const float* x, float* logits) = 0;

  // The same logits in host memory, once the ops before have run; valid until the next batch.
  virtual const float* read_logits(const float* logits, size_t count) = 0;

  // What batch.draws takes from the logits, which it may overwrite: [n] tokens in host memory, -1
  // in the place of a row without a finite logit, valid until the next batch. Null when the host is
  // to draw from read_logits().
  virtual const int32_t* sample(const Batch& /*batch*/, float* /*logits*/) { return nullptr; }

  // body(task) for every task in [0, tasks), each once, on the host's threads, for what is done
  // with logits there. On the thread of the ops; the body must not throw.
  virtual void run_tasks(int tasks, const std::function<void(int)>& body) {
    host_threads_.run(tasks, body);
  }

  // The weights that the ops use. Set once, when they are all loaded.
  const Weights* weights = nullptr;

  // When it becomes true, ops under way may return early with useless results.
  const std::atomic<bool>* cancelled = nullptr;

 private:
  HostThreads host_threads_;
};

struct BackendInfo {
  std::string name;    // "cpu", "cuda" or "metal"
  std::string device;  // set when available
  std::string reason;  // set when not
  bool available = false;
};

std::vector<BackendInfo> list_backends();

// `threads` and `kv_cache_dtype` (kFloat32 or kFloat16) are for the CPU; the others choose their
// own. Throws Error{kBackendUnavailable}.
std::unique_ptr<Backend> create_backend(const std::string& name, int device_index, int threads,
                                        DType kv_cache_dtype = DType::kFloat32);

}  // namespace openelm
