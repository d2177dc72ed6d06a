#pragma once

#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "../backend.h"
#include "../host_threads.h"
#include "../model/rope_table.h"
#include "kernel_args.h"
#include "memory.h"
#include "mtl.h"

namespace openelm::metal {

// The ops on an Apple GPU. Ops are encoded as they are called. One token is one command buffer,
// which runs at the end of the pass; a larger batch is one per layer, and encoding is never more
// than a layer ahead, so that an abort need not wait for the whole batch. The memory is the
// engine's own pages, which the GPU shares.
class MetalBackend : public Backend {
 public:
  // Throws Error{kBackendUnavailable} when the system refuses the kernels.
  // The KV cache holds kv_cache_dtype: kFloat32 or kFloat16.
  MetalBackend(mtl::Device device, DType kv_cache_dtype);
  ~MetalBackend() override;

  std::string device() const override;
  void require(const Config& config) const override;
  Buffer allocate(size_t bytes) override;
  void upload(const void* from, size_t bytes, const Buffer& to) override;
  void download(const Buffer& from, size_t bytes, void* to) override;
  void copy(const Buffer& from, size_t bytes, const Buffer& to) override;
  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress) override;
  size_t k_cache_bytes(const Config& config, int layer, int positions) const override;
  size_t v_cache_bytes(const Config& config, int layer, int positions) const override;
  int max_batch_tokens() const override { return 512; }

  void use(const Weights& weights) override;
  void begin(const Batch& batch, const std::atomic<bool>& cancelled) override;
  void embed(const Batch& batch, const Buffer& x) override;
  void norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x, const Buffer& q) override;
  void attention(const Layer& layer, const Batch& batch, const Buffer& q, const Buffer& a) override;
  void out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                    const Buffer& x) override;
  void norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                   const Buffer& g) override;
  void ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                    const Buffer& x) override;
  void end_layer(const Layer& layer, const Batch& batch) override;
  void norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) override;
  Output end(const Batch& batch, const Buffer& logits) override;
  void run_tasks(int tasks, const std::function<void(int)>& body) override {
    host_threads_.run(tasks, body);
  }

 private:
  class Call;

  // Attention of few tokens splits the positions before them over threadgroups.
  static constexpr unsigned kMaxSplits = 16;
  static constexpr unsigned kMaxSplitTokens = 8;

  // A kernel for one dtype and, where it matters, one number of query heads to a KV head.
  const mtl::Pipeline& pipeline(const char* kernel, MatrixType type, unsigned group_queries);
  RunArgs run_args(const Layer& layer, const Run& run) const;
  void split_attention(const Layer& layer, const Run& run, const KvCache& cache, const Buffer& q,
                       const Buffer& a);
  void tiled_attention(const Layer& layer, const Run& run, const KvCache& cache, const Buffer& q,
                       const Buffer& a);
  void product_add(const char* decode, const char* prefill, const Matrix& matrix, int num_tokens,
                   const Buffer& from, const Buffer& to);
  void sample(const Batch& batch, const Buffer& logits);  // to sampled_
  void reserve(Buffer& buffer, size_t bytes);
  void write_inputs(const Batch& batch);
  mtl::ComputeEncoder& encoder();  // of the command buffer under way, a new one if there is none
  void commit();                   // runs it, and waits for the one committed before it
  void finish();                   // runs it, if there is one, and waits for all
  void drop();                     // gives up what has not been committed
  // Throws Error{kOutOfMemory} or Error{kInternal} when the commands failed.
  static void wait(const mtl::CommandBuffer& commands);

  const mtl::Device device_;
  const DType kv_cache_dtype_;
  std::shared_ptr<Memory> memory_;
  mtl::CommandQueue queue_;
  mtl::Library library_;
  std::map<std::tuple<std::string_view, MatrixType, unsigned>, mtl::Pipeline> pipelines_;

  mtl::CommandBuffer commands_;  // being encoded
  mtl::ComputeEncoder encoder_;
  RopeTable<float> rope_table_;
  Buffer tokens_;      // [T]
  Buffer logit_rows_;  // [n]
  Buffer draws_;       // [n]
  Buffer sampled_;     // [n]: tokens
  Buffer rope_;        // [T, h/2, 2]: cos and sin of each token's position
  Buffer qkv_;         // [T, (Hq + 2*Hkv)*h], when T > 1
  Buffer partials_;    // [tokens, Hq, splits, h + 2]
  HostThreads host_threads_;
};

}  // namespace openelm::metal
