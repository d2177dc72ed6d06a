#pragma once

#include <algorithm>
#include <vector>

#include "../backend.h"
#include "../model/rope_table.h"
#include "../pages.h"
#include "../simd/kernels.h"
#include "../simd/thread_pool.h"
#include "pack.h"

namespace openelm {

// Of one thread.
struct AttentionScratch {
  std::vector<float> q;       // [tokens, heads, h]
  std::vector<float> scores;  // [tokens * heads, kPartition]
  std::vector<float> sums;    // of one partition
};

// The ops on the processor's own cores. Each op has a file of its own; the inner loops are in
// kernels/.
class CpuBackend : public Backend {
 public:
  // The KV cache is kept as kv_cache_dtype: kFloat32 or kFloat16.
  CpuBackend(int threads, DType kv_cache_dtype);

  // Consecutive tokens of one session, whose attention is computed together.
  struct Tile {
    int first_token;
    int tokens;
    int partitions;  // that they attend to
  };

  // What it runs on with so many threads, for people.
  static std::string describe(int threads);

  std::string device() const override;
  Buffer allocate(size_t bytes) override;
  void upload(const void* from, size_t bytes, const Buffer& to) override;
  void download(const Buffer& from, size_t bytes, void* to) override;
  void copy(const Buffer& from, size_t bytes, const Buffer& to) override;
  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress) override;
  size_t k_cache_bytes(const Config& config, int layer, int positions) const override;
  size_t v_cache_bytes(const Config& config, int layer, int positions) const override;

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
  void run_tasks(int tasks, const std::function<void(int)>& body) override;

 private:
  // Panels that one task multiplies: enough rows to be worth a task, few enough to share out
  // evenly.
  static constexpr int kTaskPanels = 4;

  static constexpr int kTileTokens = 16;

  void make_tiles(const Batch& batch);

  template <typename Body>
  void parallel(int tasks, const Body& body) {
    pool_.run(tasks, [&](int task, int thread) {
      if (cancelled_->load(std::memory_order_relaxed)) return;
      body(task, thread);
    });
  }

  // Rows of float32 as the matmul of `matrix` wants them, quantised or packed once for the whole
  // op.
  Input prepare(const Matrix& matrix, const float* rows, int tokens);
  const float* pack_input(const float* rows, int cols, int tokens);

  // RMSNorm of `tokens` rows of x, the ones that row(i) names, then prepare().
  template <typename Row>
  Input norm_and_prepare(const Matrix& matrix, const float* x, const Buffer& weight, int tokens,
                         const Row& row) {
    const int d = weights_->config.model_dim;
    const float eps = weights_->config.rms_norm_eps;
    normed_.resize(size_t(tokens) * d);
    parallel(tokens, [&](int t, int) {
      kernels_.rms_norm(x + size_t(row(t)) * d, weight.as<float>(), eps, d,
                        normed_.data() + size_t(t) * d);
    });
    return prepare(matrix, normed_.data(), tokens);
  }

  // Multiplies `matrix` in tasks of `task_panels` panels and hands each task's product on:
  // finish(first_panel, panels, acc) with acc [tokens, panels * 16].
  template <typename Finish>
  void matmul(const Matrix& matrix, const Input& input, int tokens, int task_panels,
              const Finish& finish) {
    const size_t panel_bytes = packed_panel_bytes(matrix.cols, matrix.dtype);
    const int all_panels = int(matrix.data.bytes / panel_bytes);
    const int tasks = (all_panels + task_panels - 1) / task_panels;
    const size_t acc_size = size_t(tokens) * task_panels * kPanelRows;
    for (std::vector<float>& acc : acc_) acc.resize(std::max(acc.size(), acc_size));
    parallel(tasks, [&](int task, int thread) {
      const int first = task * task_panels;
      const int panels = std::min(task_panels, all_panels - first);
      float* acc = acc_[thread].data();
      kernels_.matmul[int(matrix.dtype)](matrix.data.as<char>() + first * panel_bytes, panels,
                                         input, tokens, acc);
      finish(first, panels, acc);
    });
  }

  // x += matrix * rows
  void matmul_add(const Matrix& matrix, const Batch& batch, const float* rows, float* x);

  const std::atomic<bool>* cancelled_ = nullptr;  // of the pass under way
  const Kernels& kernels_;
  ThreadPool pool_;
  PageArena weight_pages_;
  std::vector<float> normed_;            // [T, d]
  std::vector<float> packed_input_;      // T * cols
  std::vector<int16_t> quantized_;       // [T, groups, 32]
  std::vector<float> input_scales_;      // [T, groups]
  std::vector<int32_t> input_offsets_;   // [T, groups]
  std::vector<std::vector<float>> acc_;  // one a thread
  const DType kv_cache_dtype_;
  std::vector<Tile> tiles_;  // of the batch
  std::vector<AttentionScratch> attention_scratch_;
  std::vector<float> attention_sums_;
  RopeTable<float> rope_;
};

}  // namespace openelm
