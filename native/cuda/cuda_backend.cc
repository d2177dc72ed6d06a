#include "cuda_backend.h"

#include <algorithm>
#include <cmath>
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
  try {
    if (count_devices() == 0) return {"cuda", "", "there is no NVIDIA GPU", false};
    return {"cuda", properties_of(0).name, "", true};
  } catch (const Error& error) {
    return {"cuda", "", error.what(), false};
  }
}

std::unique_ptr<Backend> create_cuda_backend(int device_index) {
  const int count = count_devices();
  if (count == 0) throw Error(ErrorCode::kBackendUnavailable, "there is no NVIDIA GPU");
  if (device_index < 0 || device_index >= count) {
    throw Error(ErrorCode::kInvalidArgument,
                "deviceIndex must be below the number of GPUs, " + std::to_string(count));
  }
  check(cudaSetDevice(device_index), "use the device");
  return std::make_unique<cuda::CudaBackend>(device_index);
}

namespace cuda {

CudaBackend::CudaBackend(int device_index)
    : device_index_(device_index), stream_(properties_of(device_index).major >= 9) {
  const cudaDeviceProp properties = properties_of(device_index);
  name_ = properties.name;
  multiprocessors_ = properties.multiProcessorCount;
  shared_memory_ = properties.sharedMemPerBlockOptin;
}

CudaBackend::~CudaBackend() {
  cudaSetDevice(device_index_);
  cudaStreamSynchronize(stream_.get());  // an aborted pass may still run
}

void CudaBackend::select() const { check(cudaSetDevice(device_index_), "use the device"); }

static int widest_input(const Config& config) {
  return std::max({config.model_dim, config.max_q_dim(), config.max_ffn_dim()});
}

// What the driver refuses, it refuses now, when another backend can still take the model.
void CudaBackend::require(const Config& config) const {
  const auto complain = [](const std::string& what, size_t limit) {
    throw Error(ErrorCode::kBackendUnavailable,
                what + " than " + std::to_string(limit) + " need backend 'cpu'");
  };
  if (config.head_dim > kMaxHeadDim) complain("heads wider", kMaxHeadDim);
  const size_t widest = most_matvec_cols(shared_memory_);
  if (size_t(widest_input(config)) > widest) complain("layers wider", widest);
  select();
  prepare_matvec(widest_input(config));
  prepare_matmul();
}

Buffer CudaBackend::allocate(size_t bytes) {
  select();
  return {allocate_device(bytes), bytes};
}

void CudaBackend::copy(void* to, const void* from, size_t bytes) {
  select();
  end_aborted_pass();
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.get()), "copy");
  stream_.synchronize();
}

Matrix CudaBackend::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                LoadProgress& progress) {
  select();
  return loader_.load_matrix(source, dtype, layout, progress);
}

Buffer CudaBackend::load_vector(const TensorSource& source, LoadProgress& progress) {
  select();
  return loader_.load_vector(source, progress);
}

bool CudaBackend::float32_cache() const {
  return !weights->layers.empty() && weights->layers[0].qkv_proj.dtype == DType::kFloat32;
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
  return {layer.index, layer.num_query_heads, layer.num_kv_heads, weights->config.head_dim,
          float32_cache()};
}

void CudaBackend::reserve(int tokens) {
  if (tokens <= reserved_) return;
  const Config& config = weights->config;
  forget_graphs();
  stream_.synchronize();
  int size = 1;
  while (size < tokens) size *= 2;
  reserved_ = 0;
  batch_ = std::make_unique<DeviceBatch>(size, config.num_layers);
  qkv_ = allocate_device(size * sizeof(float) * config.max_qkv_dim());
  input_ = allocate_device(size * sizeof(float) * padded_cols(widest_input(config)));
  row_scales_ = allocate_device(size * sizeof(float));
  size_t scratch = 0;
  for (const Layer& layer : weights->layers) {
    scratch = std::max(scratch, attention_scratch_bytes(kernels(), shape(layer), size));
  }
  attention_scratch_ = allocate_device(scratch);
  reserved_ = size;
}

// In double precision: at position 2000 a float32 angle is off by 1e-4.
void CudaBackend::extend_rope(int positions) {
  if (positions <= rope_positions_) return;
  const Config& config = weights->config;
  positions = std::max({positions, 2 * rope_positions_, config.max_context_length});
  const int half = config.head_dim / 2;
  std::vector<double> frequencies;
  for (int j = 0; j < half; ++j) {
    frequencies.push_back(std::pow(double(config.rope_freq_constant), -2.0 * j / config.head_dim));
  }
  std::vector<float2> turns;
  turns.reserve(size_t(positions) * half);
  for (int position = 0; position < positions; ++position) {
    for (double frequency : frequencies) {
      const double angle = position * frequency;
      turns.push_back({float(std::cos(angle)), float(std::sin(angle))});
    }
  }
  forget_graphs();
  stream_.synchronize();
  const size_t bytes = turns.size() * sizeof(float2);
  rope_ = allocate_device(bytes);
  check(cudaMemcpyAsync(rope_.get(), turns.data(), bytes, cudaMemcpyHostToDevice, stream_.get()),
        "copy the angles");
  stream_.synchronize();
  rope_positions_ = positions;
}

void CudaBackend::begin(const Batch& batch) {
  select();
  end_aborted_pass();
  reserve(batch.size());
  extend_rope(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
  const bool step = batch.size() == 1 && batch.logit_rows.size() == 1;
  step_ = &steps_[batch.draws.empty() ? 0 : 1];
  if (step && step_->has_run) {
    batch_->upload_step(stream_, batch);
    mode_ = step_->graph.ready() ? Mode::kReplay : Mode::kCapture;
  } else {
    const bool tiles = has_tiled_attention(weights->config.head_dim, float32_cache());
    batch_->upload(stream_, batch, tiles);
    mode_ = Mode::kDirect;
    step_->has_run |= step;
  }
  if (mode_ == Mode::kCapture) step_->graph.begin_capture(stream_);
}

void CudaBackend::end_aborted_pass() {
  if (step_->graph.capturing()) step_->graph.reset();
}

void CudaBackend::launch_step() {
  if (mode_ == Mode::kDirect) return;
  if (mode_ == Mode::kCapture) step_->graph.end_capture();
  step_->graph.launch(stream_);
  batch_->step_launched();
}

void CudaBackend::forget_graphs() {
  for (Step& step : steps_) step.graph.reset();
}

void CudaBackend::multiply(const Matrix& matrix, const float* x, const int* rows, int num_rows,
                           const Buffer* norm, float* y, Epilogue epilogue) {
  const MatrixView w = view(matrix);
  const float* const norm_weight = norm ? norm->as<float>() : nullptr;
  const float eps = weights->config.rms_norm_eps;
  if (num_rows == 1 && !rows) {
    return matvec(kernels(), {w, x, norm_weight, eps, y, epilogue});
  }
  auto* const row_scales = static_cast<float*>(row_scales_.get());
  prepare_input(kernels(), matrix.dtype,
                {x, rows, num_rows, matrix.cols, norm_weight, eps, input_.get(), row_scales});
  matmul(kernels(), {w, input_.get(), row_scales, num_rows, y, epilogue});
}

const float* CudaBackend::read_logits(const float* logits, size_t count) {
  if (count > host_logits_count_) {
    host_logits_count_ = 0;
    host_logits_ = allocate_pinned(count * sizeof(float));
    host_logits_count_ = count;
  }
  launch_step();
  check(cudaMemcpyAsync(host_logits_.get(), logits, count * sizeof(float), cudaMemcpyDeviceToHost,
                        stream_.get()),
        "copy logits");
  stream_.synchronize();
  return static_cast<const float*>(host_logits_.get());
}

}  // namespace cuda
}  // namespace openelm
