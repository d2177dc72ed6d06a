// The CUDA backend as a whole on the mock runtime: graphs, what a step costs, and what goes wrong.

#include "../../../native/cuda/cuda.h"
#include "../../../native/error.h"
#include "../../kernels/gpu/model_fixture.h"
#include "mock_runtime.h"

namespace openelm::test {
namespace {

using emulator::cuda::Counters;
using emulator::cuda::counters;
using emulator::cuda::machine;

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
    expect(counters.copied_bytes - before.copied_bytes == 2 * sizeof(int) + logits,
           what + "a step copies a token and its position there and the logits back");
  }
}

void check_loaded_bytes() {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    Model model(small_config(), dtype);
    Session session = model.new_session();
    for (int i = 0; i < 8; ++i) model.append(session, some_tokens(40));
    for (int i = 0; i < 2; ++i) model.append(session, {1});
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
                 [] { create_cuda_backend(0, DType::kFloat16); });
  }
  machine.missing = cudaSuccess;
  machine.compute_capability = 70;
  expect(!cuda_backend_info().available, "an old device is not available");
  expect_error(ErrorCode::kBackendUnavailable, "an old device",
               [] { create_cuda_backend(0, DType::kFloat16); });
  machine.compute_capability = 90;
  expect(cuda_backend_info().device == "emulated", "the device has a name");
  expect_error(ErrorCode::kInvalidArgument, "a device that is not there",
               [] { create_cuda_backend(1, DType::kFloat16); });
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
  for (int i = 0; i < 3; ++i) model.append(session, {1});
  model.expected(session, {1, 1, 1});
  machine.fail_launch_after = 0;
  expect_error(ErrorCode::kInternal, "a graph that fails", [&] { model.append(session, {2}); });
  expect_error(ErrorCode::kInternal, "a kernel that fails",
               [&] { model.append(session, some_tokens(5)); });
  machine.fail_launch_after = -1;
  model.check(session, {2}, 2e-2, "a step after a failed one");
}

// One layer whose FFN is so wide.
Config wide_config(int ffn_dim) {
  Config config = preset_layers(1);
  config.model_dim = 32;
  config.ffn_dims = {ffn_dim};
  return config;
}

// What a kernel may ask for is the same for all models.
void check_models_side_by_side() {
  Model wide(wide_config(14000), DType::kFloat16);
  Session session = wide.new_session();
  wide.append(session, {1});
  Model narrow(small_config(), DType::kFloat16);
  Session other = narrow.new_session();
  narrow.append(other, {1});
  wide.expected(session, {1});
  wide.check(session, {2, 3}, 2e-2, "a wide model beside a narrow one");
  wide.check(session, {4}, 2e-2, "its next step");
}

void check_too_wide() {
  expect_error(ErrorCode::kBackendUnavailable, "layers that no block has the memory for",
               [] { Model model(wide_config(30000), DType::kFloat16); });
}

void check_copy_after_abort() {
  Model model(small_config(), DType::kFloat16);
  Session session = model.new_session();
  model.append(session, {1});
  const std::atomic<bool> cancelled{true};
  expect_error(ErrorCode::kAborted, "a step that is aborted while it is captured",
               [&] { model.append(session, {2}, cancelled); });
  model.expected(session, {1});
  Session fork = model.new_session();
  fork.cache->copy_from(*session.cache, session.position);
  fork.layers = session.layers;
  fork.position = session.position;
  model.check(fork, {2}, 2e-2, "a fork after an aborted step");
}

// Beyond the model's context the table of angles grows, but not with every token.
void check_long_session() {
  Config config = small_config();
  config.max_context_length = 8;
  Model model(config, DType::kFloat16);
  Session session = model.new_session();
  session.cache = std::make_unique<KvCache>(model.backend, config, 64);
  for (int i = 0; i < 18; ++i) model.append(session, {1});
  const uint64_t allocations = counters.allocations;
  for (int i = 18; i < 32; ++i) model.append(session, {1});
  expect(counters.allocations == allocations, "tokens beyond the context allocate nothing");
}

}  // namespace
}  // namespace openelm::test

int main() {
  using namespace openelm::test;
  return run_tests([] {
    check_launches();
    check_loaded_bytes();
    check_missing_device();
    check_out_of_memory();
    check_failed_launch();
    check_models_side_by_side();
    check_too_wide();
    check_copy_after_abort();
    check_long_session();
    expect(emulator::cuda::counters.live_bytes == 0, "all memory has been given back");
  });
}
