#pragma once

#include <string>

#include "../backend.h"
#include "../host_threads.h"
#include "../model/rope_table.h"
#include "device_batch.h"
#include "kernels.h"
#include "runtime.h"
#include "weight_loader.h"

namespace openelm::cuda {

// The ops on an NVIDIA GPU.
//
// A step, which is a batch of one token of which logits or a draw are wanted, is recorded as a
// graph the second time, when the driver has loaded its kernels, and replayed from then on. What
// changes from step to step the kernels read from device memory: see DeviceBatch. Where the caller
// says what comes next, the next step is in the stream before this one has ended: a GPU that waits
// for the host between steps does nothing for a tenth of the time.
class CudaBackend : public Backend {
 public:
  // The KV cache holds kv_cache_dtype: kFloat32 or kFloat16.
  CudaBackend(int device_index, DType kv_cache_dtype);
  ~CudaBackend() override;

  std::string device() const override { return name_; }
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
  bool replay(const Batch& batch) override;
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
  void run_tasks(int tasks, const std::function<void(int)>& body) override {
    host_threads_.run(tasks, body);
  }

 private:
  void select() const;  // the device, for the calling thread
  void prepare_copy();  // by the host, outside of a pass
  Device kernels() const { return {stream_, multiprocessors_}; }
  bool float32_cache() const { return kv_cache_dtype_ == DType::kFloat32; }
  AttentionShape shape(const Layer& layer) const;

  // y = epilogue(W norm(x)) for the rows of x that `rows` names, in device memory; for the first
  // num_rows when it is null.
  void multiply(const Matrix& matrix, const float* x, const int* rows, int num_rows,
                const Buffer* norm, float* y, Epilogue epilogue);

  QkvHeads qkv_heads(const Layer& layer) const;
  void finish_norm_qkv();  // what it has left to attention()

  // Leaves in the batch's device memory the tokens that its draws take from the logits.
  void sample(const Batch& batch, const Buffer& logits);
  const float* read_logits(const Buffer& logits, size_t count);

  void reserve(int tokens);  // scratch for batches of this size
  void extend_rope(int positions);
  void end_given_up_pass();  // which may have left a recording open
  void drop_ahead();         // the step that runs ahead of the host
  void run_ahead(const Batch& batch);
  void forget_graphs();  // they know where the scratch was

  const int device_index_;
  const DType kv_cache_dtype_;
  std::string name_;
  int multiprocessors_ = 0;
  Stream stream_;
  HostThreads host_threads_;
  WeightLoader loader_{host_threads_};

  struct Step {
    bool has_run = false;
    Graph graph;
  };
  Step steps_[2];         // one that ends in logits, and one that ends in a token
  Step* step_ = nullptr;  // of the pass under way, if it is one
  bool replayed_ = false;
  bool captures_ = true;         // while the driver does
  bool is_ahead_ = false;        // the stream has the step after that of the last end()
  Event drawn_[kStepsUnderWay];  // by slot_of_step()
  struct {
    const Layer* layer = nullptr;  // whose norm_qkv() has not made q of its products
    float* q = nullptr;
  } unfinished_;
  std::unique_ptr<DeviceBatch> batch_;
  int reserved_ = 0;                  // tokens that the scratch is for
  std::shared_ptr<void> qkv_;         // [T, (Hq + 2 Hkv) h]
  std::shared_ptr<void> input_;       // [T, widest input]
  std::shared_ptr<void> row_scales_;  // [T]
  std::shared_ptr<void> attention_scratch_;
  std::shared_ptr<void> splits_done_;
  RopeTable<float> rope_;
  std::shared_ptr<void> turns_;  // the same on the device: [positions, h / 2] of cosine and sine
  std::shared_ptr<void> host_logits_;  // page-locked
  size_t host_logits_count_ = 0;
};

}  // namespace openelm::cuda
