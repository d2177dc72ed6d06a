// The host side of the Metal backend: a whole model, what it asks of Metal, and Metal's refusals.
#include <cstring>
#include <functional>

#include "../../kernels/check.h"
#include "../../kernels/fixture.h"
#include "../../kernels/model.h"
#include "../../kernels/tensors.h"
#include "counted_loads.h"
#include "error.h"
#include "metal/metal.h"
#include "mock_metal.h"

using emulator::metal::counters;
using emulator::metal::Fault;
using emulator::metal::fault;

namespace openelm {
namespace {

// A model with one session.
struct Setup {
  explicit Setup(DType dtype)
      : model(test_backend("metal"), config(), dtype, make_tensors(config(), dtype)), run(model) {}

  static Config config() { return make_config(96, 16, 128, {{4, 1, 64}, {8, 2, 96}, {8, 2, 160}}); }

  const float* append(const std::vector<int>& tokens) { return run.append(0, tokens); }
  std::vector<float> logits(const std::vector<int>& tokens) {
    const float* const logits = append(tokens);
    return {logits, logits + model.config.vocab_size};
  }

  const Model model;
  ModelRun run;
};

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
  check(counters.command_buffers == command_buffers + 1, "one command buffer a token");
  check(counters.dispatches == dispatches + 5 * 3 + 2, "five dispatches a layer and two more");
  check(counters.pipelines == pipelines, "pipelines are made once");
  check(counters.buffers == buffers, "no memory is taken by a token");
  check(counters.inline_bytes - inline_bytes < 1024, "arguments are small");
  check(!setup.run.run(0, {5}, {DrawArgs{}}).logits, "a token drawn brings no logits");
  setup.run.run(0, {5}, {DrawArgs{}});
  check(counters.command_buffers == command_buffers + 3, "one command buffer a token drawn");
  check(counters.dispatches == dispatches + 3 * (5 * 3 + 2) + 2, "and one dispatch more");
  check(counters.buffers == buffers && counters.pipelines == pipelines + 1,
        "and a pipeline the first time");
  setup.append({6, 7});
  check(counters.command_buffers == command_buffers + 3 + 3, "then one a layer for two tokens");
}

// A token loads every weight once, and the live part of every cache once. The scale of a group goes
// to the four threads of a simdgroup that share it, which to a GPU's memory is one load.
void check_loaded_bytes(DType dtype) {
  using emulator::metal::count_loads_from;
  Setup setup(dtype);
  emulator::metal::reset_loads();
  for (int i = 0; i < 4; ++i) setup.append(std::vector<int>(64, i));
  setup.append({1});
  size_t needed = 0;
  const auto count = [&](const Matrix& matrix) {
    count_loads_from(matrix.data.as<void>(), matrix.data.bytes);
    needed += matrix.data.bytes;
    const bool quantized = matrix.dtype == DType::kQ8 || matrix.dtype == DType::kQ4;
    if (quantized) needed += 3 * sizeof(uint16_t) * matrix.rows * (matrix.cols / kGroupSize);
  };
  const Config& config = setup.model.config;
  const Session& session = setup.run.session(0);
  for (const Layer& layer : setup.model.weights.layers) {
    for (const Matrix* matrix : {&layer.qkv_proj, &layer.out_proj, &layer.proj_1, &layer.proj_2}) {
      count(*matrix);
    }
    const size_t live =
        setup.model.backend->k_cache_bytes(config, layer.index, session.position + 1);
    count_loads_from(session.cache->k(layer.index).as<void>(), live);
    count_loads_from(session.cache->v(layer.index).as<void>(), live);
    needed += 2 * live;
  }
  count(setup.model.weights.lm_head);
  setup.append({2});
  const double share = double(emulator::metal::loaded_bytes()) / double(needed);
  check(share >= 1 && share <= 1.05, "they are " + std::to_string(share) + " times what it needs");
}

void expect_error(ErrorCode code, const char* text, const char* what,
                  const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return check(error.code == code && std::strstr(error.what(), text),
                 std::string(what) + ": " + error_code_name(error.code) + ", " + error.what());
  }
  check(false, what);
}

void check_faults() {
  const auto create = [] { create_metal_backend(0, DType::kFloat16); };
  fault = Fault::kNoDevice;
  expect_error(ErrorCode::kBackendUnavailable, "finds no GPU", "no device", create);
  check(!metal_backend_info().available, "no device to report");
  for (Fault one : {Fault::kNoList, Fault::kNoDefault}) {
    fault = one;
    check(metal_backend_info().available, "either way of finding a device will do");
  }
  fault = Fault::kOldDevice;
  expect_error(ErrorCode::kBackendUnavailable, "Apple silicon", "an old device", create);
  fault = Fault::kLibrary;
  expect_error(ErrorCode::kBackendUnavailable, "a planted compiler error", "shaders", create);
  fault = Fault::kNone;
  check(metal_backend_info().device == "emulated", "the device's name");
  expect_error(ErrorCode::kInvalidArgument, "deviceIndex must be below", "a device index too large",
               [] { create_metal_backend(9, DType::kFloat16); });

  Setup setup(DType::kFloat16);
  fault = Fault::kPipeline;
  expect_error(ErrorCode::kBackendUnavailable, "a planted pipeline error", "a pipeline",
               [&] { setup.append({1}); });
  fault = Fault::kBuffer;
  expect_error(ErrorCode::kOutOfMemory, "choose a smaller dtype", "a buffer",
               [&] { setup.model.backend->allocate(1); });
  fault = Fault::kNone;
  const std::vector<float> before = setup.logits({1});
  check(setup.logits({2}) != before, "another token");
  setup.run.rewind(0, 0);
  check(setup.logits({1}) == before, "the same token twice");
  setup.run.rewind(0, 0);
  fault = Fault::kCommand;
  expect_error(ErrorCode::kOutOfMemory, "Insufficient Memory", "a command buffer",
               [&] { setup.append({1}); });
  expect_error(ErrorCode::kOutOfMemory, "Insufficient Memory", "one of several command buffers",
               [&] { setup.append({2, 3, 4}); });
  fault = Fault::kNone;
  check(setup.logits({1}) == before, "the model lives on after a failure");

  const std::atomic<bool> cancelled{true};
  expect_error(ErrorCode::kAborted, "", "an abort", [&] { setup.run.run(0, {2}, {}, cancelled); });
  const uint64_t command_buffers = counters.command_buffers;
  expect_error(ErrorCode::kAborted, "", "an abort",
               [&] { setup.run.run(0, {2, 3}, {}, cancelled); });
  check(counters.command_buffers == command_buffers + 1, "an abort after one layer");
  // Its first layer still runs: what it uses must not go.
  setup.run.session(0) = Session();
  setup.run.renew_decoder();
  check(setup.logits({1}) == before, "the model lives on after an abort");
}

}  // namespace
}  // namespace openelm

int main() {
  using namespace openelm;
  test_only("metal");
  const int64_t objects = counters.live_objects;
  test("what a token asks of Metal", check_counts);
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    test(std::string("the bytes that a token loads, ") + dtype_name(dtype),
         [&] { check_loaded_bytes(dtype); });
  }
  test("Metal's refusals, and aborts", check_faults);
  test("what is left", [&] {
    check(counters.live_objects == objects, "every object of Metal is released");
    check(counters.autoreleases_without_pool == 0, "every autoreleased object has a pool");
  });
  return failures() > 0;
}
