#include "cuda_backend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "../error.h"
#include "cuda.h"

namespace openelm {

using cuda::check;

static int count_devices() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "find devices");
  return count;
}

static cudaDeviceProp properties_of(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "ask for the device's properties");
  const int capability = properties.major * 10 + properties.minor;
  if (capability < 75) {
    throw Error(ErrorCode::kBackendUnavailable,
                std::string(properties.name) + " is too old; compute capability 7.5 is needed");
  }
  return properties;
}

BackendInfo cuda_backend_info() {
  std::string reason = "there is no NVIDIA GPU";
  try {
    const int count = count_devices();
    for (int device = 0; device < count; ++device) {
      try {
        return {"cuda", properties_of(device).name, "", true};
      } catch (const Error& error) {
        if (device == 0) reason = error.what();  // another may be newer
      }
    }
  } catch (const Error& error) {
    reason = error.what();
  }
  return {"cuda", "", reason, false};
}

std::unique_ptr<Backend> create_cuda_backend(int device_index, DType kv_cache_dtype) {
  const int count = count_devices();
  if (count == 0) throw Error(ErrorCode::kBackendUnavailable, "there is no NVIDIA GPU");
  if (device_index < 0 || device_index >= count) {
    throw Error(ErrorCode::kInvalidArgument,
                "deviceIndex must be below the number of GPUs, " + std::to_string(count));
  }
  check(cudaSetDevice(device_index), "use the device");
  return std::make_unique<cuda::CudaBackend>(device_index, kv_cache_dtype);
}

namespace cuda {

CudaBackend::CudaBackend(int device_index, DType kv_cache_dtype)
    : device_index_(device_index),
      kv_cache_dtype_(kv_cache_dtype),
      stream_(properties_of(device_index).major >= 9) {
  const cudaDeviceProp properties = properties_of(device_index);
  name_ = properties.name;
  multiprocessors_ = properties.multiProcessorCount;
}

CudaBackend::~CudaBackend() {
  cudaSetDevice(device_index_);
  end_given_up_pass();
  cudaStreamSynchronize(stream_.get());  // an aborted pass may still run
}

void CudaBackend::select() const { check(cudaSetDevice(device_index_), "use the device"); }

static int widest_input(const Config& config) {
  return std::max({config.model_dim, config.max_q_dim(), config.max_ffn_dim()});
}

// What the driver refuses, it refuses now, when another backend can still take the model.
void CudaBackend::require(const Config& config) const {
  if (config.head_dim > kMaxHeadDim) {
    throw Error(ErrorCode::kBackendUnavailable,
                "heads wider than " + std::to_string(kMaxHeadDim) + " need backend 'cpu'");
  }
  select();
  prepare_matmul();
}

Buffer CudaBackend::allocate(size_t bytes) {
  select();
  return {allocate_device(bytes), bytes};
}

void CudaBackend::prepare_copy() {
  select();
  finish_norm_qkv();
  end_given_up_pass();
  drop_ahead();
}

void CudaBackend::upload(const void* from, size_t bytes, const Buffer& to) {
  prepare_copy();
  check(cudaMemcpyAsync(to.as<void>(), from, bytes, cudaMemcpyHostToDevice, stream_.get()), "copy");
  stream_.synchronize();
}

void CudaBackend::download(const Buffer& from, size_t bytes, void* to) {
  prepare_copy();
  check(cudaMemcpyAsync(to, from.as<void>(), bytes, cudaMemcpyDeviceToHost, stream_.get()), "copy");
  stream_.synchronize();
}

void CudaBackend::copy(const Buffer& from, size_t bytes, const Buffer& to) {
  prepare_copy();
  check(cudaMemcpyAsync(to.as<void>(), from.as<void>(), bytes, cudaMemcpyDeviceToDevice,
                        stream_.get()),
        "copy");
  stream_.synchronize();
}

Matrix CudaBackend::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                LoadProgress& progress) {
  select();
  return loader_.load_matrix(source, dtype, layout, progress);
}

size_t CudaBackend::k_cache_bytes(const Config& config, int layer, int positions) const {
  const size_t element = float32_cache() ? sizeof(float) : sizeof(__half);
  return size_t(positions) * config.num_kv_heads[layer] * padded_head_dim(config.head_dim) *
         element;
}

size_t CudaBackend::v_cache_bytes(const Config& config, int layer, int positions) const {
  return k_cache_bytes(config, layer, positions);
}

AttentionShape CudaBackend::shape(const Layer& layer) const {
  return {layer.index, layer.num_query_heads, layer.num_kv_heads, weights_->config.head_dim,
          float32_cache()};
}

void CudaBackend::reserve(int tokens) {
  if (tokens <= reserved_) return;
  const Config& config = weights_->config;
  forget_graphs();
  stream_.synchronize();
  int size = kStepsUnderWay;
  while (size < tokens) size *= 2;
  reserved_ = 0;
  batch_ = std::make_unique<DeviceBatch>(size, config.num_layers);
  qkv_ = allocate_device(size * sizeof(float) * config.max_qkv_dim());
  input_ = allocate_device(size * sizeof(float) * padded_to_groups(widest_input(config)));
  row_scales_ = allocate_device(size * sizeof(float));
  size_t scratch = 0;
  size_t counters = 0;
  for (const Layer& layer : weights_->layers) {
    scratch = std::max(scratch, attention_scratch_bytes(kernels(), shape(layer), size));
    counters = std::max(counters, attention_counters_bytes(shape(layer), size));
  }
  attention_scratch_ = allocate_device(scratch);
  splits_done_ = allocate_device(counters);
  reserved_ = size;
}

void CudaBackend::extend_rope(int positions) {
  const int known = rope_.positions();
  if (positions <= known) return;
  const Config& config = weights_->config;
  rope_.extend(std::max({positions, 2 * known, config.max_context_length}));
  std::vector<float2> turns;
  const int half = config.head_dim / 2;
  turns.reserve(size_t(rope_.positions()) * half);
  for (int position = 0; position < rope_.positions(); ++position) {
    for (int j = 0; j < half; ++j) {
      turns.push_back({rope_.cos(position)[j], rope_.sin(position)[j]});
    }
  }
  forget_graphs();
  stream_.synchronize();
  const size_t bytes = turns.size() * sizeof(float2);
  turns_ = allocate_device(bytes);
  check(cudaMemcpyAsync(turns_.get(), turns.data(), bytes, cudaMemcpyHostToDevice, stream_.get()),
        "copy the angles");
  stream_.synchronize();
}

void CudaBackend::use(const Weights& weights) {
  select();
  end_given_up_pass();
  drop_ahead();
  forget_graphs();
  stream_.synchronize();
  Backend::use(weights);
  reserved_ = 0;
  rope_ = RopeTable<float>(0, weights.config.head_dim, weights.config.rope_freq_constant);
}

void CudaBackend::begin(const Batch& batch, const std::atomic<bool>&) {
  select();
  end_given_up_pass();
  if (is_ahead_ && batch_->is_ahead(batch)) return;
  drop_ahead();
  reserve(batch.size());
  extend_rope(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
  batch_->upload(stream_, batch, has_tiled_attention(weights_->config.head_dim, float32_cache()));
}

void CudaBackend::end_given_up_pass() {
  if (step_ && step_->graph.capturing()) step_->graph.reset();
  step_ = nullptr;
  replayed_ = false;
  unfinished_ = {};
}

// Its keys and values are where the next pass puts its own, if that is of the same session.
void CudaBackend::drop_ahead() {
  if (!is_ahead_) return;
  is_ahead_ = false;
  stream_.synchronize();
  batch_->drop_step();
}

void CudaBackend::run_ahead(const Batch& batch) {
  const int next = batch.positions[0] + 1;
  if (!batch.next_draw || !step_->graph.ready() || next >= rope_.positions()) return;
  batch_->add_draw(next, *batch.next_draw);
  step_->graph.launch(stream_);
  drawn_[slot_of_step(next)].record(stream_);
  is_ahead_ = true;
}

void CudaBackend::forget_graphs() {
  for (Step& step : steps_) step.graph.reset();
}

bool CudaBackend::replay(const Batch& batch) {
  if (!DeviceBatch::is_step(batch)) return false;
  step_ = &steps_[batch.draws.empty() ? 0 : 1];
  replayed_ = step_->graph.ready();
  if (replayed_) {
    if (!is_ahead_) step_->graph.launch(stream_);
  } else if (step_->has_run && captures_) {
    // Once the driver has refused a capture, or what was captured, kernels are launched one by one.
    captures_ = step_->graph.begin_capture(stream_);
  }
  return replayed_;
}

Output CudaBackend::end(const Batch& batch, const Buffer& logits) {
  const size_t count = batch.logit_rows.size();
  if (count == 0) return {};
  const bool draws = !batch.draws.empty();
  if (draws && !replayed_) sample(batch, logits);
  if (step_ && step_->graph.capturing()) {
    captures_ = false;
    step_->graph.end_capture();
    captures_ = true;
    step_->graph.launch(stream_);
  }
  if (step_) step_->has_run = true;
  if (draws) {
    if (!step_) {
      stream_.synchronize();
      return {nullptr, batch_->sampled()};
    }
    const int slot = slot_of_step(batch.positions[0]);
    if (!std::exchange(is_ahead_, false)) drawn_[slot].record(stream_);
    run_ahead(batch);
    drawn_[slot].wait("run the model");
    batch_->step_drawn();
    return {nullptr, batch_->sampled() + slot};
  }
  return {read_logits(logits, count * weights_->config.vocab_size), nullptr};
}

const float* CudaBackend::read_logits(const Buffer& logits, size_t count) {
  if (count > host_logits_count_) {
    host_logits_count_ = 0;
    host_logits_ = allocate_pinned(count * sizeof(float));
    host_logits_count_ = count;
  }
  check(cudaMemcpyAsync(host_logits_.get(), logits.as<void>(), count * sizeof(float),
                        cudaMemcpyDeviceToHost, stream_.get()),
        "copy logits");
  stream_.synchronize();
  return static_cast<const float*>(host_logits_.get());
}

}  // namespace cuda
}  // namespace openelm
