#pragma once

#include <string>

#include "../backend.h"
#include "device_batch.h"
#include "kernels.h"
#include "runtime.h"
#include "weight_loader.h"

namespace openelm::cuda {

// The ops on an NVIDIA GPU. Each op has a file of its own.
//
// A batch of one token of which logits or a draw are wanted is captured as a graph the second time;
// from then on the ops of such a batch do nothing, and read_logits() or sample() launches the
// graph. What changes from token to token (itself, its position, the caches, the draw) the kernels
// read from device memory.
class CudaBackend : public Backend {
 public:
  explicit CudaBackend(int device_index);
  ~CudaBackend() override;

  std::string device() const override { return name_; }
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
  enum class Mode : uint8_t { kDirect, kCapture, kReplay };

  void select() const;  // the device, for the calling thread
  bool replaying() const { return mode_ == Mode::kReplay; }
  void launch_step();    // the graph of the batch, if it has one
  void forget_graphs();  // they know where the scratch was
  Device kernels() const { return {stream_, multiprocessors_}; }
  // Float32 models cache keys and values in float32, all others in float16.
  bool float32_cache() const;
  AttentionShape shape(const Layer& layer) const;

  // y = epilogue(W norm(x)) for the rows of x that `rows` names, in device memory; for the first
  // num_rows when it is null.
  void multiply(const Matrix& matrix, const float* x, const int* rows, int num_rows,
                const Buffer* norm, float* y, Epilogue epilogue);

  void reserve(int tokens);  // scratch for batches of this size
  void extend_rope(int positions);
  void end_aborted_pass();  // which may have left a capture open

  const int device_index_;
  std::string name_;
  int multiprocessors_ = 0;
  size_t shared_memory_ = 0;  // of a block, at most
  Stream stream_;
  WeightLoader loader_;

  // A step that ends in logits, and one that ends in a token.
  struct Step {
    bool has_run = false;  // so that the driver has loaded its kernels
    Graph graph;
    const float* x = nullptr;  // the activations that the graph was captured with
  };
  Step steps_[2];
  Step* step_ = &steps_[0];  // of the batch under way, if it is one
  Mode mode_ = Mode::kDirect;
  std::unique_ptr<DeviceBatch> batch_;
  int reserved_ = 0;                  // tokens that the scratch is for
  std::shared_ptr<void> qkv_;         // [T, (Hq + 2 Hkv) h]
  std::shared_ptr<void> input_;       // [T, widest input]
  std::shared_ptr<void> row_scales_;  // [T]
  std::shared_ptr<void> attention_scratch_;
  std::shared_ptr<void> rope_;  // [positions, h / 2]: cosine and sine
  int rope_positions_ = 0;
  std::shared_ptr<void> host_logits_;  // page-locked
  size_t host_logits_count_ = 0;
};

}  // namespace openelm::cuda
