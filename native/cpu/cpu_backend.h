#pragma once

#include <span>
#include <vector>

#include "../backend.h"
#include "../model/rope_table.h"
#include "../pages.h"
#include "matmul.h"

namespace openelm::cpu {

// Of one thread, sized for the longest tile of a batch.
struct AttentionScratch {
  Scratch<float> q;       // [tokens, heads, h], scaled by 1/sqrt(h)
  Scratch<float> scores;  // [tokens * heads, kPartition]
  Scratch<float> sums;    // of one partition
};

// Consecutive tokens of a batch with the same adapter.
struct AdapterRun {
  int first_token;
  int num_tokens;
  const Adapter* adapter;
};

// The ops on the processor's own cores: attention.cc has attention, adapter.cc what adapters add to
// products, ops.cc the rest of a forward pass, cpu_backend.cc what comes before one. The inner
// loops are in ../simd.
class CpuBackend : public Backend {
 public:
  // The KV cache holds kv_cache_dtype: kFloat32 or kFloat16.
  CpuBackend(int threads, DType kv_cache_dtype);

  // What it runs on with so many threads, for people.
  static std::string describe(int threads);

  std::string device() const override;
  Buffer allocate(size_t bytes) override;
  void upload(const void* from, size_t bytes, const Buffer& to) override;
  void download(const Buffer& from, size_t bytes, void* to) override;
  void copy(const Buffer& from, size_t bytes, const Buffer& to) override;
  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress) override;
  AdaptedMatrix adapt(const Matrix& matrix, MatrixLayout layout,
                      const AdapterTarget& target) override;
  size_t k_cache_bytes(const Config& config, int layer, int positions) const override;
  size_t v_cache_bytes(const Config& config, int layer, int positions) const override;
  void run_tasks(int tasks, const std::function<void(int)>& body) override;

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
  void norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) override;
  Output end(const Batch& batch, const Buffer& logits) override;

 private:
  void read_packed(const TensorSource& source, size_t bytes, LoadProgress& progress, char* to);
  void make_tiles(const Batch& batch);
  void find_adapters(const Batch& batch);
  // The rows of a product in a layer, or of the logits, that adapters change. Valid until the next
  // call.
  std::span<const AdaptedRows> adapted_head(const Batch& batch);
  std::span<const AdaptedRows> adapted(const Layer& layer, AdaptedMatrix AdaptedLayer::* matrix);
  void product_add(const Matrix& matrix, std::span<const AdaptedRows> adapted, int num_tokens,
                   const Buffer& from, const Buffer& to);

  const Kernels& kernels_;
  Workers workers_;
  Matmul matmul_{kernels_, workers_};
  PageArena weight_pages_;
  const DType kv_cache_dtype_;
  RopeTable<float> rope_;
  std::vector<Run> tiles_;                // of the batch: what attention computes together
  std::vector<AdapterRun> adapter_runs_;  // of the batch
  std::vector<AdaptedRows> adapted_;      // of a product
  std::vector<AttentionScratch> attention_scratch_;  // one per thread
  Scratch<float> attention_sums_;
};

}  // namespace openelm::cpu
