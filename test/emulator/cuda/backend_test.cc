// The CUDA backend as a whole on the mock runtime: graphs, what a step costs, and what goes wrong.

#include "cuda/cuda.h"

#include "../../kernels/check.h"
#include "../../kernels/fixture.h"
#include "../../kernels/model.h"
#include "../../kernels/tensors.h"
#include "error.h"
#include "mock_runtime.h"
#include "model/sampler.h"

namespace openelm {
namespace {

using emulator::cuda::Counters;
using emulator::cuda::counters;
using emulator::cuda::machine;

Config small_config() { return make_config(256, 64, 512, {{4, 1, 256}, {8, 2, 512}, {8, 2, 768}}); }

std::vector<int> some_tokens(int count) {
  std::vector<int> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 37 + 11) % 512);
  return tokens;
}

Model make_model(const Config& config, DType dtype) {
  return {test_backend("cuda"), config, dtype, make_tensors(config, dtype)};
}

// The layers of a preset, at widths that are quick to run.
Config preset_layers(int layers) {
  return make_config(64, 16, 512, std::vector<LayerShape>(layers, {4, 1, 32}));
}

void check_launches() {
  for (int layers : {16, 20, 28, 36}) {
    const Model model = make_model(preset_layers(layers), DType::kBFloat16);
    ModelRun run(model);
    run.append(0, {1});
    run.append(0, {2});
    const Counters before = counters;
    run.append(0, {3});
    const std::string what = std::to_string(layers) + " layers: ";
    check(counters.graphs - before.graphs == 1, what + "a step is one graph");
    check(counters.kernels - before.kernels <= 5 * uint64_t(layers) + 3,
          what + "a step is at most 5 L + 3 kernels");
    check(counters.allocations == before.allocations, what + "a step allocates nothing");
    const uint64_t logits = uint64_t(model.config.vocab_size) * sizeof(float);
    check(counters.copied_bytes - before.copied_bytes == 2 * sizeof(int) + logits,
          what + "a step copies a token and its position there and the logits back");
  }
}

void check_loaded_bytes() {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    const Model model = make_model(small_config(), dtype);
    ModelRun run(model);
    for (int i = 0; i < 8; ++i) run.append(0, some_tokens(40));
    for (int i = 0; i < 2; ++i) run.append(0, {1});
    const Counters before = counters;
    run.append(0, {2});
    const Config& config = model.config;
    size_t cache = 0;
    for (int layer = 0; layer < config.num_layers; ++layer) {
      cache += model.backend->k_cache_bytes(config, layer, run.session(0).position) +
               model.backend->v_cache_bytes(config, layer, run.session(0).position);
    }
    const double needed = double(model.weights.bytes() + cache);
    const double loaded = double(counters.loaded_bytes - before.loaded_bytes);
    check(loaded > 0.9 * needed && loaded < 1.05 * needed,
          std::string(dtype_name(dtype)) + ": a step loads " + std::to_string(loaded / needed) +
              " times the weights and the live cache");
  }
}

template <typename Run>
void expect_error(ErrorCode code, const std::string& what, const Run& run) {
  try {
    run();
    check(false, what + ": no error");
  } catch (const Error& error) {
    check(error.code == code, what + ": " + error.what());
  }
}

void check_missing_device() {
  for (cudaError_t missing : {cudaErrorInsufficientDriver, cudaErrorNoDevice}) {
    machine.missing = missing;
    const BackendInfo info = cuda_backend_info();
    check(!info.available && !info.reason.empty(), "a missing device has a reason");
    expect_error(ErrorCode::kBackendUnavailable, "a missing device",
                 [] { create_cuda_backend(0, DType::kFloat16); });
  }
  machine.missing = cudaSuccess;
  machine.compute_capability = 70;
  check(!cuda_backend_info().available, "an old device is not available");
  expect_error(ErrorCode::kBackendUnavailable, "an old device",
               [] { create_cuda_backend(0, DType::kFloat16); });
  machine.compute_capability = 90;
  machine.first_capability = 70;
  check(cuda_backend_info().device == "emulated", "a newer device behind an old one is found");
  expect_error(ErrorCode::kBackendUnavailable, "the old device of two",
               [] { create_cuda_backend(0, DType::kFloat16); });
  check(create_cuda_backend(1, DType::kFloat16)->device() == "emulated", "the newer one is used");
  machine.first_capability = 0;
  check(cuda_backend_info().device == "emulated", "the device has a name");
  expect_error(ErrorCode::kInvalidArgument, "a device that is not there",
               [] { create_cuda_backend(1, DType::kFloat16); });
}

void check_out_of_memory() {
  const emulator::cuda::Machine usual = machine;
  const uint64_t live = counters.live_bytes;
  machine.memory = live + (size_t(1) << 20);
  expect_error(ErrorCode::kOutOfMemory, "too little memory for the weights",
               [] { make_model(small_config(), DType::kFloat32); });
  machine.memory = usual.memory;
  check(counters.live_bytes == live, "a load that failed gives its memory back");

  const Model model = make_model(small_config(), DType::kBFloat16);
  ModelRun run(model);
  run.append(0, {1});
  machine.memory = counters.live_bytes;
  expect_error(ErrorCode::kOutOfMemory, "too little memory for a larger batch",
               [&] { run.append(0, some_tokens(30)); });
  machine.memory = usual.memory;
  run.expected(0, {1});
  run.compare(0, some_tokens(30), "a prompt after there was no memory for it");
  run.compare(0, {2}, "a step after there was no memory");
}

void check_failed_launch() {
  const Model model = make_model(small_config(), DType::kFloat16);
  ModelRun run(model);
  for (int i = 0; i < 3; ++i) run.append(0, {1});
  run.expected(0, {1, 1, 1});
  machine.fail_launch_after = 0;
  expect_error(ErrorCode::kInternal, "a graph that fails", [&] { run.append(0, {2}); });
  expect_error(ErrorCode::kInternal, "a kernel that fails", [&] { run.append(0, some_tokens(5)); });
  machine.fail_launch_after = -1;
  run.compare(0, {2}, "a step after a failed one");
}

// A driver that refuses graphs makes steps slower, not impossible.
void check_without_graphs() {
  const Model model = make_model(small_config(), DType::kFloat16);
  const auto graphs = [before = counters.graphs] { return counters.graphs - before; };
  machine.captures = false;
  ModelRun run(model);
  for (int i = 1; i < 5; ++i) run.compare(0, {i}, "a step of a driver that captures nothing");
  machine.captures = true;
  machine.instantiates = false;
  const Model other_model = make_model(small_config(), DType::kFloat16);
  ModelRun other(other_model);
  other.compare(0, {1}, "a first step");
  expect_error(ErrorCode::kInternal, "the step whose graph is refused",
               [&] { other.append(0, {2}); });
  for (int i = 2; i < 5; ++i) other.compare(0, {i}, "a step after a graph was refused");
  machine.instantiates = true;
  check(graphs() == 0, "no graph has been launched");
}

// One layer whose FFN is so wide.
Config wide_config(int ffn_dim) {
  Config config = preset_layers(1);
  config.model_dim = 32;
  config.ffn_dims = {ffn_dim};
  return config;
}

// More columns than the registers of a block hold.
void check_wide() {
  for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kQ8, DType::kQ4}) {
    const Model wide = make_model(wide_config(30000), dtype);
    ModelRun run(wide);
    run.append(0, {1});
    run.expected(0, {1});
    run.compare(0, {4}, std::string("a step of a wide model, ") + dtype_name(dtype));
  }
}

void check_copy_after_abort() {
  const Model model = make_model(small_config(), DType::kFloat16);
  ModelRun run(model);
  run.append(0, {1});
  const std::atomic<bool> cancelled{true};
  expect_error(ErrorCode::kAborted, "a step that is aborted while it is captured",
               [&] { run.run(0, {2}, {}, cancelled); });
  run.expected(0, {1});
  run.fork(0, 1);
  run.compare(1, {2}, "a fork after an aborted step");
}

// Tokens that the device draws, and takes for the next step itself, are those of the logits.
void check_generation() {
  const Model model = make_model(small_config(), DType::kFloat16);
  const Model other_model = make_model(small_config(), DType::kFloat16);
  ModelRun run(model);
  ModelRun other(other_model);
  int token = 1;
  for (int i = 0; i < 12; ++i) {
    if (i == 8) {  // where the device does not expect to go on
      run.rewind(0, 5);
      other.rewind(0, 5);
    }
    const float* const logits = other.append(0, {token});
    const int likeliest = int(std::max_element(logits, logits + model.config.vocab_size) - logits);
    const uint64_t copied = counters.copied_bytes;
    token = run.run(0, {token}, {DrawArgs{}}).tokens[0];
    check(token == likeliest, "a token drawn on the device");
    const bool follows = i > 0 && i != 8;
    check((counters.copied_bytes == copied) == follows, "a step copies what is new");
  }
}

// A step that the device runs before the host asks for it is the one that the host asks for, or is
// as if it had not been.
void check_ahead() {
  const Model model = make_model(small_config(), DType::kFloat16);
  const Model other_model = make_model(small_config(), DType::kFloat16);
  ModelRun run(model);
  ModelRun other(other_model);
  SamplerOptions options;
  options.temperature = 0.8;
  options.top_p = 0.9;
  Sampler sampler(model.config.vocab_size, options);
  int token = 1;
  const auto step = [&](int session) {
    const std::vector<DrawArgs> draws = {sampler.next_draw().value()};
    const int expected = other.run(session, {token}, draws).tokens[0];
    run.next_draw = sampler.next_draw(1);
    const Counters before = counters;
    const int drawn = run.run(session, {token}, draws).tokens[0];
    check(drawn == expected, "a token of a step that may run ahead");
    Counters difference = counters;
    difference.graphs -= before.graphs;
    difference.kernels -= before.kernels;
    difference.copied_bytes -= before.copied_bytes;
    token = sampler.take(drawn).token;
    run.next_draw.reset();
    return difference;
  };
  const auto both = [&](const auto& act) {
    act(run);
    act(other);
  };
  const uint64_t kernels = step(0).kernels;
  check(step(0).graphs == 2, "the first replay brings the next");
  const auto follows = [&](const std::string& what) {
    const Counters count = step(0);
    check(count.graphs == 1 && count.kernels == kernels && count.copied_bytes == 0, what);
  };
  for (int i = 0; i < 5; ++i) follows("a step is there already, and no more is waited for");
  both([](ModelRun& r) { r.rewind(0, 3); });
  check(step(0).graphs == 2, "a step after a rewind is not the one that was expected");
  both([](ModelRun& r) { r.append(1, some_tokens(20)); });
  check(step(0).graphs == 2, "nor is one after another session's");
  follows("a step after these");
  both([](ModelRun& r) { r.fork(0, 2); });
  check(step(0).graphs == 2, "nor one after a copy");
  check(step(2).graphs == 2, "nor one of another session");
  const std::vector<DrawArgs> greedy = {DrawArgs{}};
  check(run.run(2, {token}, greedy).tokens[0] == other.run(2, {token}, greedy).tokens[0],
        "a token that is drawn in another way than was expected");
  check(run.run(2, {7}, greedy).tokens[0] == other.run(2, {7}, greedy).tokens[0],
        "a token that the device has not drawn");
}

// Beyond the model's context the table of angles grows, but not with every token.
void check_long_session() {
  Config config = small_config();
  config.max_context_length = 8;
  const Model model = make_model(config, DType::kFloat16);
  ModelRun run(model, 64);
  for (int i = 0; i < 18; ++i) run.append(0, {1});
  const uint64_t allocations = counters.allocations;
  for (int i = 18; i < 32; ++i) run.append(0, {1});
  check(counters.allocations == allocations, "tokens beyond the context allocate nothing");
}

// The last steps of a full context, whose keys are in as many splits as there can be. Before them
// come prompts of as many tokens as a batch takes.
void check_full_context() {
  const emulator::cuda::Machine usual = machine;
  machine.multiprocessors = 132;
  const Model model = make_model(preset_layers(1), DType::kFloat16);
  constexpr int kContext = 2048;
  ModelRun run(model, kContext);
  const std::vector<int> prompt = some_tokens(kContext - 3);
  const int chunk = model.backend->max_batch_tokens();
  for (int first = 0; first < int(prompt.size()); first += chunk) {
    const int last = std::min(first + chunk, int(prompt.size()));
    run.append(0, {prompt.begin() + first, prompt.begin() + last});
  }
  run.expected(0, prompt);
  for (int token = 1; token <= 3; ++token) run.compare(0, {token}, "a step at the context's end");
  machine = usual;
}

}  // namespace
}  // namespace openelm

int main() {
  using namespace openelm;
  test_only("cuda");
  test("what a step launches", check_launches);
  test("what a step loads", check_loaded_bytes);
  test("a missing device", check_missing_device);
  test("too little memory", check_out_of_memory);
  test("a failed launch", check_failed_launch);
  test("a driver without graphs", check_without_graphs);
  test("a wide model", check_wide);
  test("a copy after an abort", check_copy_after_abort);
  test("a generation", check_generation);
  test("steps ahead of the host", check_ahead);
  test("a long session", check_long_session);
  test("a full context", check_full_context);
  test("all memory has been given back",
       [] { check(emulator::cuda::counters.live_bytes == 0, "some has not"); });
  return failures() > 0;
}
