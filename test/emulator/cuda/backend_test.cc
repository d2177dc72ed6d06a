// The CUDA backend as a whole on the mock runtime: graphs, what a step costs, and what goes wrong.

#include "../../../native/cuda/cuda.h"
#include "../../../native/error.h"
#include "../../../native/model/decoder.h"
#include "../../../native/model/kv_cache.h"
#include "../../kernels/gpu/op_fixture.h"
#include "mock_runtime.h"

namespace openelm::test {
namespace {

using emulator::cuda::Counters;
using emulator::cuda::counters;
using emulator::cuda::machine;

const std::atomic<bool> kNotCancelled{false};

Config small_config() {
  Config config;
  config.num_layers = 3;
  config.model_dim = 256;
  config.head_dim = 64;
  config.vocab_size = 512;
  config.max_context_length = 512;
  config.num_query_heads = {4, 8, 8};
  config.num_kv_heads = {1, 2, 2};
  config.ffn_dims = {256, 512, 768};
  return config;
}

// A loaded model with sessions, each mirrored by the oracle.
struct Model {
  explicit Model(const Config& config, DType dtype)
      : host(config, dtype), backend(create_cuda_backend(0)), weights(host.load(*backend)) {
    backend->weights = &weights;
    decoder = std::make_unique<Decoder>(*backend, weights, 64);
  }

  Session new_session() {
    return {std::make_unique<KvCache>(backend, host.config, host.config.max_context_length),
            std::vector<HostCache>(size_t(host.config.num_layers)), 0};
  }

  // Appends tokens and returns the logits of the last.
  const float* append(Session& session, const std::vector<int>& tokens,
                      const std::atomic<bool>& cancelled = kNotCancelled) {
    Batch batch;
    for (int token : tokens) {
      batch.tokens.push_back(token);
      batch.positions.push_back(session.position + batch.size() - 1);
      batch.caches.push_back(session.cache.get());
    }
    batch.logit_rows = {batch.size() - 1};
    const float* logits = decoder->forward(batch, cancelled);
    session.position += batch.size();
    return logits;
  }

  Row expected(Session& session, const std::vector<int>& tokens) const {
    Row logits;
    for (int token : tokens) logits = forward(host, token, session.layers);
    return logits;
  }

  void check(Session& session, const std::vector<int>& tokens, double tolerance,
             const std::string& what) {
    const float* logits = append(session, tokens);
    expect_close(logits, expected(session, tokens), tolerance, what);
  }

  const RandomModel host;
  const std::shared_ptr<Backend> backend;
  const Weights weights;
  std::unique_ptr<Decoder> decoder;
};

std::vector<int> some_tokens(int count) {
  std::vector<int> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 37 + 11) % 512);
  return tokens;
}

// Two sessions by turns, prompts between steps, a rewind, and an abort in the middle of a capture.
void check_sessions(DType dtype, double tolerance) {
  const std::string name = name_of(dtype);
  Model model(small_config(), dtype);
  Session first = model.new_session();
  Session second = model.new_session();
  const std::atomic<bool> cancelled{true};
  try {
    model.append(first, {1}, cancelled);
    expect(false, name + ": an aborted step throws");
  } catch (const Error& error) {
    expect(error.code == ErrorCode::kAborted, name + ": an aborted step is an abort");
  }
  model.check(first, {5}, tolerance, name + ": the first token");
  model.check(first, some_tokens(20), tolerance, name + ": a prompt");
  model.check(first, {7}, tolerance, name + ": a step");
  model.check(first, {8}, tolerance, name + ": a step that is replayed");
  model.check(second, {9}, tolerance, name + ": a step of another session");
  model.check(first, {10}, tolerance, name + ": a step of the first session again");
  model.check(second, some_tokens(3), tolerance, name + ": a prompt of the second session");
  model.check(second, {11}, tolerance, name + ": a step after the prompt");

  first.position -= 2;
  for (HostCache& cache : first.layers) {
    cache.k.resize(size_t(first.position));
    cache.v.resize(size_t(first.position));
  }
  model.check(first, {12}, tolerance, name + ": a step after a rewind");

  // A second decoder has activations of its own, which the graph does not know.
  model.decoder = std::make_unique<Decoder>(*model.backend, model.weights, 64);
  model.check(first, {13}, tolerance, name + ": a step of another decoder");
}

// The layers of a preset, at widths that are quick to run.
Config preset_layers(int layers) {
  Config config = small_config();
  config.num_layers = layers;
  config.model_dim = 64;
  config.head_dim = 16;
  config.num_query_heads.assign(size_t(layers), 4);
  config.num_kv_heads.assign(size_t(layers), 1);
  config.ffn_dims.assign(size_t(layers), 32);
  return config;
}

void check_launches() {
  for (int layers : {16, 20, 28, 36}) {
    Model model(preset_layers(layers), DType::kBFloat16);
    Session session = model.new_session();
    model.append(session, {1});
    model.append(session, {2});
    const Counters before = counters;
    model.append(session, {3});
    const std::string what = std::to_string(layers) + " layers: ";
    expect(counters.graphs - before.graphs == 1, what + "a step is one graph");
    expect(counters.kernels - before.kernels <= 7 * uint64_t(layers) + 3,
           what + "a step is at most 7 L + 3 kernels");
    expect(counters.allocations == before.allocations, what + "a step allocates nothing");
    const uint64_t logits = uint64_t(model.host.config.vocab_size) * sizeof(float);
    expect(counters.copied_bytes - before.copied_bytes == sizeof(int) + logits,
           what + "a step copies a token there and the logits back");
  }
}

void check_loaded_bytes() {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    Model model(small_config(), dtype);
    Session session = model.new_session();
    for (int i = 0; i < 8; ++i) model.append(session, some_tokens(40));
    model.append(session, {1});
    const Counters before = counters;
    model.append(session, {2});
    const Config& config = model.host.config;
    size_t cache = 0;
    for (int layer = 0; layer < config.num_layers; ++layer) {
      cache += model.backend->k_cache_bytes(config, layer, session.position) +
               model.backend->v_cache_bytes(config, layer, session.position);
    }
    const double needed = double(model.weights.bytes() + cache);
    const double loaded = double(counters.loaded_bytes - before.loaded_bytes);
    expect(loaded > 0.9 * needed && loaded < 1.05 * needed,
           std::string(name_of(dtype)) + ": a step loads " + std::to_string(loaded / needed) +
               " times the weights and the live cache");
  }
}

template <typename Run>
void expect_error(ErrorCode code, const std::string& what, const Run& run) {
  try {
    run();
    expect(false, what + ": no error");
  } catch (const Error& error) {
    expect(error.code == code, what + ": " + error.what());
  }
}

void check_missing_device() {
  for (cudaError_t missing : {cudaErrorInsufficientDriver, cudaErrorNoDevice}) {
    machine.missing = missing;
    const BackendInfo info = cuda_backend_info();
    expect(!info.available && !info.reason.empty(), "a missing device has a reason");
    expect_error(ErrorCode::kBackendUnavailable, "a missing device",
                 [] { create_cuda_backend(0); });
  }
  machine.missing = cudaSuccess;
  machine.compute_capability = 70;
  expect(!cuda_backend_info().available, "an old device is not available");
  expect_error(ErrorCode::kBackendUnavailable, "an old device", [] { create_cuda_backend(0); });
  machine.compute_capability = 90;
  expect(cuda_backend_info().device == "emulated", "the device has a name");
  expect_error(ErrorCode::kInvalidArgument, "a device that is not there",
               [] { create_cuda_backend(1); });
}

void check_out_of_memory() {
  const emulator::cuda::Machine usual = machine;
  const uint64_t live = counters.live_bytes;
  machine.memory = live + (size_t(1) << 20);
  expect_error(ErrorCode::kOutOfMemory, "too little memory for the weights",
               [] { Model model(small_config(), DType::kFloat32); });
  machine.memory = usual.memory;
  expect(counters.live_bytes == live, "a load that failed gives its memory back");

  Model model(small_config(), DType::kBFloat16);
  Session session = model.new_session();
  model.append(session, {1});
  machine.memory = counters.live_bytes;
  expect_error(ErrorCode::kOutOfMemory, "too little memory for a larger batch",
               [&] { model.append(session, some_tokens(30)); });
  machine.memory = usual.memory;
  model.expected(session, {1});
  model.check(session, some_tokens(30), 2e-2, "a prompt after there was no memory for it");
  model.check(session, {2}, 2e-2, "a step after there was no memory");
}

void check_failed_launch() {
  Model model(small_config(), DType::kFloat16);
  Session session = model.new_session();
  model.append(session, {1});
  model.expected(session, {1});
  machine.fail_launch_after = 0;
  expect_error(ErrorCode::kInternal, "a graph that fails", [&] { model.append(session, {2}); });
  expect_error(ErrorCode::kInternal, "a kernel that fails",
               [&] { model.append(session, some_tokens(5)); });
  machine.fail_launch_after = -1;
  model.check(session, {2}, 2e-2, "a step after a failed one");
}

}  // namespace
}  // namespace openelm::test

int main() {
  using namespace openelm::test;
  check_sessions(openelm::DType::kFloat32, 1e-5);
  check_sessions(openelm::DType::kFloat16, 1e-2);
  check_sessions(openelm::DType::kBFloat16, 2e-2);
  check_sessions(openelm::DType::kQ8, 1e-2);
  check_sessions(openelm::DType::kQ4, 1e-2);
  check_launches();
  check_loaded_bytes();
  check_missing_device();
  check_out_of_memory();
  check_failed_launch();
  expect(emulator::cuda::counters.live_bytes == 0, "all memory has been given back");
  std::printf("%d failures\n", failures);
  return failures > 0;
}
