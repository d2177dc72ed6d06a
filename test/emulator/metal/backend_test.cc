// The host side of the Metal backend: a whole model, what it asks of Metal, and Metal's refusals.
#include <cstring>
#include <functional>

#include "../../../native/error.h"
#include "../../../native/metal/metal.h"
#include "../../../native/model/decoder.h"
#include "../../../native/model/kv_cache.h"
#include "../../kernels/gpu/check.h"
#include "../../kernels/gpu/oracle.h"
#include "counted_loads.h"
#include "mock_metal.h"

using emulator::metal::counters;
using emulator::metal::Fault;
using emulator::metal::fault;

namespace openelm::test {
namespace {

Config small_config() {
  Config config;
  config.num_layers = 3;
  config.model_dim = 96;
  config.head_dim = 16;
  config.vocab_size = 128;
  config.max_context_length = 512;
  config.num_query_heads = {4, 8, 8};
  config.num_kv_heads = {1, 2, 2};
  config.ffn_dims = {64, 96, 160};
  return config;
}

// A model on the backend with one session.
struct Setup {
  explicit Setup(DType dtype, int context_length = 40)
      : model(small_config(), dtype),
        backend(create_metal_backend(0, default_kv_cache_dtype("metal", dtype))) {
    weights = model.load(*backend);
    cache = std::make_unique<KvCache>(backend, model.config, context_length);
    decoder = std::make_unique<Decoder>(*backend, weights, 64);
  }

  // Logits after the last of some more tokens, none when a token is drawn instead.
  const float* append(const std::vector<int32_t>& tokens, bool logits = true, bool draw = false) {
    Batch batch;
    if (draw) batch.draws = {DrawArgs{}};
    batch.tokens = tokens;
    for (size_t i = 0; i < tokens.size(); ++i) {
      batch.positions.push_back(cache->position + int(i));
      batch.caches.push_back(cache.get());
    }
    if (logits) batch.logit_rows = {batch.size() - 1};
    const float* result = decoder->forward(batch, cancelled).logits;
    cache->position += batch.size();
    return result;
  }

  RandomModel model;
  std::shared_ptr<Backend> backend;
  Weights weights;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Decoder> decoder;
  std::atomic<bool> cancelled{false};
};

void check_whole_model(DType dtype, double tolerance) {
  Setup setup(dtype);
  std::vector<HostCache> caches(size_t(setup.model.config.num_layers));
  Row expected;
  for (const int token : {1, 5, 42, 96, 7, 7, 3}) expected = forward(setup.model, token, caches);
  setup.append({1, 5, 42, 96}, false);
  const size_t vocab_size = expected.size();
  expect_close(setup.append({7, 7, 3}), expected, tolerance, "a prompt in two chunks");
  for (const int token : {17, 127, 0}) {
    expected = forward(setup.model, token, caches);
    expect_close(setup.append({token}), expected, tolerance, "a token");
  }
  const float* logits = setup.append({1});
  std::vector<float> once(logits, logits + vocab_size);
  --setup.cache->position;
  expect(std::memcmp(setup.append({1}), once.data(), vocab_size * sizeof(float)) == 0,
         "the same token twice");
}

// Long enough for attention to split the positions.
void check_long_session(DType dtype, double tolerance) {
  Setup setup(dtype, 300);
  std::vector<HostCache> caches(size_t(setup.model.config.num_layers));
  std::vector<int32_t> chunk;
  Row expected;
  for (int i = 0; i < 290; ++i) {
    const int token = i * 37 % setup.model.config.vocab_size;
    expected = forward(setup.model, token, caches);
    if (i < 280) {
      chunk.push_back(token);
      if (chunk.size() < 40) continue;
      setup.append(chunk, false);
      chunk.clear();
    } else if (i < 288) {
      expect_close(setup.append({token}), expected, tolerance, "a token late in a session");
    } else {
      chunk.push_back(token);
    }
  }
  expect_close(setup.append(chunk), expected, tolerance, "two tokens late in a session");
}

void check_counts() {
  Setup setup(DType::kQ4);
  setup.append({1, 2, 3});
  setup.append({4});
  const uint64_t command_buffers = counters.command_buffers;
  const uint64_t dispatches = counters.dispatches;
  const uint64_t pipelines = counters.pipelines;
  const uint64_t buffers = counters.buffers;
  const uint64_t inline_bytes = counters.inline_bytes;
  setup.append({5});
  expect(counters.command_buffers == command_buffers + 1, "one command buffer a token");
  expect(counters.dispatches == dispatches + 5 * 3 + 2, "five dispatches a layer and two more");
  expect(counters.pipelines == pipelines, "pipelines are made once");
  expect(counters.buffers == buffers, "no memory is taken by a token");
  expect(counters.inline_bytes - inline_bytes < 1024, "arguments are small");
  expect(!setup.append({5}, true, true), "a token drawn brings no logits");
  setup.append({5}, true, true);
  expect(counters.command_buffers == command_buffers + 3, "one command buffer a token drawn");
  expect(counters.dispatches == dispatches + 3 * (5 * 3 + 2) + 2, "and one dispatch more");
  expect(counters.buffers == buffers && counters.pipelines == pipelines + 1,
         "and a pipeline the first time");
  setup.append({6, 7});
  expect(counters.command_buffers == command_buffers + 3 + 3, "then one a layer for two tokens");
}

// A token loads every weight once, and the live part of every cache once. The scale of a group goes
// to the four threads of a simdgroup that share it, which to a GPU's memory is one load.
void check_loaded_bytes(DType dtype) {
  using emulator::metal::count_loads_from;
  Setup setup(dtype, 300);
  emulator::metal::reset_loads();
  for (int i = 0; i < 4; ++i) setup.append(std::vector<int32_t>(64, i), false);
  setup.append({1});
  size_t needed = 0;
  const auto count = [&](const Matrix& matrix) {
    count_loads_from(matrix.data.as<void>(), matrix.data.bytes);
    needed += matrix.data.bytes;
    const bool quantized = matrix.dtype == DType::kQ8 || matrix.dtype == DType::kQ4;
    if (quantized) needed += 3 * sizeof(uint16_t) * matrix.rows * (matrix.cols / kGroupSize);
  };
  const Config& config = setup.model.config;
  for (const Layer& layer : setup.weights.layers) {
    for (const Matrix* matrix : {&layer.qkv_proj, &layer.out_proj, &layer.proj_1, &layer.proj_2}) {
      count(*matrix);
    }
    const size_t live =
        setup.backend->k_cache_bytes(config, layer.index, setup.cache->position + 1);
    count_loads_from(setup.cache->k(layer.index).as<void>(), live);
    count_loads_from(setup.cache->v(layer.index).as<void>(), live);
    needed += 2 * live;
  }
  count(setup.weights.lm_head);
  setup.append({2});
  const double share = double(emulator::metal::loaded_bytes()) / double(needed);
  if (share < 1 || share > 1.05) std::printf("dtype %d: %.3f\n", int(dtype), share);
  expect(share >= 1 && share <= 1.05, "the bytes that a token loads");
}

void expect_error(ErrorCode code, const char* text, const char* what,
                  const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    const bool right = error.code == code && std::strstr(error.what(), text);
    if (!right) std::printf("%s: %s\n", error_code_name(error.code), error.what());
    return expect(right, what);
  }
  expect(false, what);
}

void check_faults() {
  const auto create = [] { create_metal_backend(0, DType::kFloat16); };
  fault = Fault::kNoDevice;
  expect_error(ErrorCode::kBackendUnavailable, "finds no GPU", "no device", create);
  expect(!metal_backend_info().available, "no device to report");
  fault = Fault::kOldDevice;
  expect_error(ErrorCode::kBackendUnavailable, "Apple silicon", "an old device", create);
  fault = Fault::kLibrary;
  expect_error(ErrorCode::kBackendUnavailable, "a planted compiler error", "shaders", create);
  fault = Fault::kNone;
  expect(metal_backend_info().device == "emulated", "the device's name");
  expect_error(ErrorCode::kInvalidArgument, "deviceIndex must be below", "a device index too large",
               [] { create_metal_backend(9, DType::kFloat16); });

  Setup setup(DType::kFloat16);
  fault = Fault::kPipeline;
  expect_error(ErrorCode::kBackendUnavailable, "a planted pipeline error", "a pipeline",
               [&] { setup.append({1}); });
  fault = Fault::kBuffer;
  expect_error(ErrorCode::kOutOfMemory, "choose a smaller dtype", "a buffer",
               [&] { setup.backend->allocate(1); });
  fault = Fault::kNone;
  const float* logits = setup.append({1});
  const std::vector<float> before(logits, logits + setup.model.config.vocab_size);
  fault = Fault::kCommand;
  setup.cache->position = 0;
  expect_error(ErrorCode::kOutOfMemory, "Insufficient Memory", "a command buffer",
               [&] { setup.append({1}); });
  expect_error(ErrorCode::kOutOfMemory, "Insufficient Memory", "one of several command buffers",
               [&] { setup.append({2, 3, 4}); });
  fault = Fault::kNone;
  expect(std::memcmp(setup.append({1}), before.data(), before.size() * sizeof(float)) == 0,
         "the model lives on after a failure");

  setup.cancelled = true;
  expect_error(ErrorCode::kAborted, "", "an abort", [&] { setup.append({2}); });
  const uint64_t command_buffers = counters.command_buffers;
  expect_error(ErrorCode::kAborted, "", "an abort", [&] { setup.append({2, 3}); });
  expect(counters.command_buffers == command_buffers + 1, "an abort after one layer");
  setup.cancelled = false;
  // Its first layer still runs: what it uses must not go.
  setup.cache = std::make_unique<KvCache>(setup.backend, setup.model.config, 40);
  setup.decoder = std::make_unique<Decoder>(*setup.backend, setup.weights, 64);
  expect(std::memcmp(setup.append({1}), before.data(), before.size() * sizeof(float)) == 0,
         "the model lives on after an abort");
}

}  // namespace
}  // namespace openelm::test

int main() {
  using namespace openelm;
  using namespace openelm::test;
  const int64_t objects = counters.live_objects;
  check_whole_model(DType::kFloat32, 1e-5);
  check_whole_model(DType::kFloat16, 2e-3);
  check_whole_model(DType::kBFloat16, 2e-3);
  check_whole_model(DType::kQ8, 2e-3);
  check_whole_model(DType::kQ4, 2e-3);
  check_long_session(DType::kFloat32, 1e-5);
  check_long_session(DType::kQ8, 2e-3);
  check_counts();
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    check_loaded_bytes(dtype);
  }
  check_faults();
  expect(counters.live_objects == objects, "every object of Metal is released");
  expect(counters.autoreleases_without_pool == 0, "every autoreleased object has a pool");
  return failures > 0;
}
