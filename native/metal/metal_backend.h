#pragma once

#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "../backend.h"
#include "../kernel_args.h"
#include "memory.h"
#include "mtl.h"

namespace openelm::metal {

// The ops on an Apple GPU. Ops are encoded as they are called. One token is one command buffer,
// which runs when the last op is in; a larger batch is one a layer, and encoding is never more than
// a layer ahead, so that an abort need not wait for the whole batch. The memory is the engine's own
// pages, which the GPU shares.
class MetalBackend : public Backend {
 public:
  // Throws Error{kBackendUnavailable} when the system refuses the kernels.
  explicit MetalBackend(mtl::Device device);
  ~MetalBackend() override;

  std::string device() const override;
  void require(const Config& config) const override;
  Buffer allocate(size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress) override;
  Buffer load_vector(const TensorSource& source, LoadProgress& progress) override;
  size_t k_cache_bytes(const Config& config, int layer, int positions) const override;
  size_t v_cache_bytes(const Config& config, int layer, int positions) const override;
  void begin(const Batch& batch) override;

  void embed(const Batch& batch, float* x) override;
  void norm_qkv(const Layer& layer, const Batch& batch, const float* x, float* q) override;
  void attention(const Layer& layer, const Batch& batch, const float* q, float* a) override;
  void out_proj_add(const Layer& layer, const Batch& batch, const float* a, float* x) override;
  void norm_swiglu(const Layer& layer, const Batch& batch, const float* x, float* g) override;
  void ffn_down_add(const Layer& layer, const Batch& batch, const float* g, float* x) override;
  void norm_logits(const Batch& batch, const float* x, float* logits) override;
  const float* read_logits(const float* logits, size_t count) override;
  const int32_t* sample(const Batch& batch, float* logits) override;
  int max_batch_tokens() const override { return 512; }

 private:
  class Call;

  // Attention of few tokens splits the positions before them over threadgroups.
  static constexpr unsigned kMaxSplits = 16;
  static constexpr unsigned kMaxSplitTokens = 8;

  // Consecutive tokens of one session. Caches of different sessions are different buffers, so that
  // what reads or writes them is called once a run.
  struct Run {
    const KvCache* cache;
    unsigned first_token;
    unsigned num_tokens;
    unsigned first_position;
  };

  // A kernel for one dtype and, where it matters, one number of query heads to a KV head.
  const mtl::Pipeline& pipeline(const char* kernel, MatrixType type, unsigned group_queries);
  bool cache_is_half() const;
  RunArgs run_args(const Layer& layer, const Run& run) const;
  void attend(const Layer& layer, const Run& run, const float* q, float* a);
  void attend_tiled(const Layer& layer, const Run& run, const float* q, float* a);
  void product_add(const char* decode, const char* prefill, const Matrix& matrix, int num_tokens,
                   const float* from, float* to);
  void write_inputs(const Batch& batch);
  void open();    // a command buffer to encode in
  void commit();  // runs it, and waits for the one committed before it
  void finish();  // runs it and waits for all
  void drop();    // gives up what has not been committed
  // Throws Error{kOutOfMemory} or Error{kInternal} when the commands failed.
  static void wait(const mtl::CommandBuffer& commands);

  mtl::Device device_;
  std::shared_ptr<Memory> memory_;
  mtl::CommandQueue queue_;
  mtl::Library library_;
  std::map<std::tuple<std::string_view, MatrixType, unsigned>, mtl::Pipeline> pipelines_;

  mtl::CommandBuffer commands_;  // being encoded
  mtl::ComputeEncoder encoder_;
  std::vector<Run> runs_;
  Buffer tokens_;      // [T]
  Buffer logit_rows_;  // [n]
  Buffer draws_;       // [n]
  Buffer sampled_;     // [n]: tokens
  Buffer rope_;        // [T, h/2, 2]: cos and sin of each token's position
  Buffer qkv_;         // [T, (Hq + 2*Hkv)*h], when T > 1
  Buffer partials_;    // [tokens, Hq, splits, h + 2]
};

}  // namespace openelm::metal
