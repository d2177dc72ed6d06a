#include "metal_backend.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "../error.h"
#include "../model/kv_cache.h"
#include "../simd/thread_pool.h"
#include "metal.h"
#include "metal_source.h"
#include "pack.h"

namespace openelm::metal {

// Limits of the kernels: norm_qkv.metal and attention.metal.
static constexpr int kMaxHeadDim = 256;

namespace {

Error unavailable(const std::string& reason) {
  return Error(ErrorCode::kBackendUnavailable, reason);
}

// Throws when there is none that the kernels can run on.
mtl::Device find_device(int device_index) {
  const objc::AutoreleasePool pool;
  const std::vector<mtl::Device> devices = mtl::devices();
  const int count = int(devices.size());
  if (count == 0) throw unavailable("Metal finds no GPU");
  if (device_index < 0 || device_index >= count) {
    throw Error(ErrorCode::kInvalidArgument,
                "deviceIndex must be below the number of GPUs, " + std::to_string(count));
  }
  const mtl::Device& device = devices[size_t(device_index)];
  if (!device.is_apple7()) {
    throw unavailable(device.name() + " is no Apple silicon GPU, which the Metal kernels need");
  }
  return device;
}

}  // namespace

MetalBackend::MetalBackend(mtl::Device device, DType kv_cache_dtype)
    : device_(std::move(device)), kv_cache_dtype_(kv_cache_dtype) {
  const objc::AutoreleasePool pool;
  std::string error;
  library_ = device_.new_library(kShaderSource, error);
  if (!library_) throw unavailable("Metal cannot compile the kernels: " + error);
  queue_ = device_.new_command_queue();
  if (!queue_) throw unavailable("Metal gives no command queue");
  memory_ = std::make_shared<Memory>(device_);
}

MetalBackend::~MetalBackend() { drop(); }

std::string MetalBackend::device() const {
  const objc::AutoreleasePool pool;
  return device_.name();
}

void MetalBackend::require(const Config& config) const {
  if (config.head_dim <= kMaxHeadDim) return;
  throw unavailable("heads wider than " + std::to_string(kMaxHeadDim) + " need backend 'cpu'");
}

Buffer MetalBackend::allocate(size_t bytes) { return memory_->allocate(bytes); }

void MetalBackend::upload(const void* from, size_t bytes, const Buffer& to) {
  finish();
  std::memcpy(to.as<void>(), from, bytes);
}

void MetalBackend::download(const Buffer& from, size_t bytes, void* to) {
  finish();
  std::memcpy(to, from.as<void>(), bytes);
}

void MetalBackend::copy(const Buffer& from, size_t bytes, const Buffer& to) {
  finish();
  std::memcpy(to.as<void>(), from.as<void>(), bytes);
}

Matrix MetalBackend::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                 LoadProgress& progress) {
  constexpr int kSliceRows = 64;
  Matrix matrix{allocate(matrix_bytes(source.rows, source.cols, dtype)), source.rows, source.cols,
                dtype};
  const int slices = (source.rows + kSliceRows - 1) / kSliceRows;
  ThreadPool pool(int(std::max(1u, std::thread::hardware_concurrency())));
  pool.run_throwing(slices, [&](int slice, int) {
    progress.check();
    const int row = slice * kSliceRows;
    const int end = std::min(row + kSliceRows, source.rows);
    pack_rows(source, dtype, layout, row, end, matrix.data.as<void>());
    progress.add((source.row_bytes() + source.scale_row_bytes()) * (end - row));
  });
  return matrix;
}

size_t MetalBackend::k_cache_bytes(const Config& config, int layer, int positions) const {
  return bytes_of(kv_cache_dtype_, size_t(positions) * config.kv_dim(layer));
}

size_t MetalBackend::v_cache_bytes(const Config& config, int layer, int positions) const {
  return k_cache_bytes(config, layer, positions);
}

// A kernel is compiled for the shape of the model.
void MetalBackend::use(const Weights& weights) {
  drop();
  Backend::use(weights);
  pipelines_.clear();
  rope_table_ = RopeTable<float>(0, weights.config.head_dim, weights.config.rope_freq_constant);
}

const mtl::Pipeline& MetalBackend::pipeline(const char* kernel, MatrixType type,
                                            unsigned group_queries) {
  mtl::Pipeline& pipeline = pipelines_[{kernel, type, group_queries}];
  if (pipeline) return pipeline;
  const Config& config = weights_->config;
  mtl::FunctionConstants constants;  // in the order of matrix.h
  constants.set(type, 0);
  constants.set(uint32_t(config.head_dim), 1);
  constants.set(group_queries, 2);
  constants.set(kv_cache_dtype_ == DType::kFloat16, 3);
  constants.set(config.ffn_with_glu, 4);
  constants.set(config.normalize_qk_projections, 5);
  std::string error;
  if (const objc::Object function = library_.function(kernel, constants, error)) {
    pipeline = device_.new_pipeline(function, error);
  }
  if (!pipeline) {
    throw unavailable(std::string("Metal cannot make a pipeline of ") + kernel + ": " + error);
  }
  return pipeline;
}

void MetalBackend::reserve(Buffer& buffer, size_t bytes) {
  if (buffer.bytes < bytes) buffer = allocate(bytes);
}

void MetalBackend::write_inputs(const Batch& batch) {
  const Config& config = weights_->config;
  const size_t tokens = batch.tokens.size();
  const int half_dim = config.head_dim / 2;
  reserve(tokens_, tokens * sizeof(int32_t));
  reserve(logit_rows_, tokens * sizeof(int32_t));
  reserve(draws_, tokens * sizeof(DrawArgs));
  reserve(sampled_, tokens * sizeof(int32_t));
  reserve(rope_, tokens * config.head_dim * sizeof(float));
  const int max_heads = config.max_q_dim() / config.head_dim;
  reserve(partials_,
          size_t(kMaxSplitTokens) * max_heads * kMaxSplits * (config.head_dim + 2) * sizeof(float));
  if (tokens > 1) reserve(qkv_, tokens * config.max_qkv_dim() * sizeof(float));

  std::copy(batch.tokens.begin(), batch.tokens.end(), tokens_.as<int32_t>());
  std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), logit_rows_.as<int32_t>());
  std::copy(batch.draws.begin(), batch.draws.end(), draws_.as<DrawArgs>());
  rope_table_.extend(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
  float* rope = rope_.as<float>();
  for (int position : batch.positions) {
    for (int j = 0; j < half_dim; ++j) {
      *rope++ = rope_table_.cos(position)[j];
      *rope++ = rope_table_.sin(position)[j];
    }
  }
}

void MetalBackend::begin(const Batch& batch, const std::atomic<bool>&) {
  drop();
  write_inputs(batch);
}

void MetalBackend::end_layer(const Layer& layer, const Batch& batch) {
  if (batch.size() > 1 && layer.index + 1 < weights_->config.num_layers) commit();
}

Output MetalBackend::end(const Batch& batch, const Buffer& logits) {
  const bool draws = !batch.draws.empty();
  if (draws) sample(batch, logits);
  finish();
  if (batch.logit_rows.empty()) return {};
  if (draws) return {nullptr, sampled_.as<int32_t>()};
  return {logits.as<float>(), nullptr};
}

mtl::ComputeEncoder& MetalBackend::encoder() {
  if (encoder_) return encoder_;
  const objc::AutoreleasePool pool;
  commands_ = queue_.command_buffer();
  if (commands_) encoder_ = commands_.compute_encoder();
  if (!encoder_) throw Error(ErrorCode::kInternal, "Metal gives no command buffer");
  return encoder_;
}

void MetalBackend::commit() {
  const objc::AutoreleasePool pool;
  encoder_.end();
  encoder_ = mtl::ComputeEncoder();
  commands_.commit();
  const mtl::CommandBuffer before = memory_->running();
  memory_->set_running(std::exchange(commands_, mtl::CommandBuffer()));
  wait(before);
}

void MetalBackend::wait(const mtl::CommandBuffer& commands) {
  if (!commands) return;
  const objc::AutoreleasePool pool;
  commands.wait();
  if (commands.completed()) return;
  constexpr mtl::Integer kOutOfMemory = 8;  // MTLCommandBufferErrorOutOfMemory
  const std::string text = "Metal failed in a forward pass: " + commands.error_text();
  if (commands.error_code() != kOutOfMemory) throw Error(ErrorCode::kInternal, text);
  throw Error(ErrorCode::kOutOfMemory,
              text + "; choose a smaller dtype or a shorter contextLength");
}

void MetalBackend::finish() {
  if (encoder_) commit();
  wait(memory_->running());
  memory_->set_running(mtl::CommandBuffer());
}

// Metal wants an encoder ended before it goes, even when nothing of it will run. What runs may
// still read the inputs of its batch.
void MetalBackend::drop() {
  const objc::AutoreleasePool pool;
  if (encoder_) encoder_.end();
  encoder_ = mtl::ComputeEncoder();
  commands_ = mtl::CommandBuffer();
  if (const mtl::CommandBuffer running = memory_->running()) running.wait();
  memory_->set_running(mtl::CommandBuffer());
}

}  // namespace openelm::metal

namespace openelm {

BackendInfo metal_backend_info() {
  const objc::AutoreleasePool pool;
  try {
    return {"metal", metal::find_device(0).name(), "", true};
  } catch (const std::exception& error) {
    return {"metal", "", error.what(), false};
  }
}

std::unique_ptr<Backend> create_metal_backend(int device_index, DType kv_cache_dtype) {
  return std::make_unique<metal::MetalBackend>(metal::find_device(device_index), kv_cache_dtype);
}

}  // namespace openelm
