// What a decode step of the released sizes launches, allocates, copies and loads, at their full
// widths. Arguments: a size, all of them by default, and a dtype, bfloat16 by default.

#include <cstdio>
#include <cstring>

#include "../../kernels/check.h"
#include "../../kernels/model.h"
#include "../../kernels/tensors.h"
#include "cuda/cuda.h"
#include "mock_runtime.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/load.h"
#include "model/sampler.h"

namespace openelm {
namespace {

using emulator::cuda::Counters;
using emulator::cuda::counters;
using emulator::cuda::machine;

class ZeroFile : public File {
 public:
  void read(uint64_t, size_t bytes, void* to) const override { std::memset(to, 0, bytes); }
};

std::vector<TensorSource> zero_tensors(const Config& config, DType dtype) {
  std::vector<TensorSource> tensors = make_tensors(config, dtype);
  for (TensorSource& tensor : tensors) {
    tensor.file = tensor.scales_file = std::make_shared<ZeroFile>();
  }
  return tensors;
}

// Without biases and with tied embeddings.
double parameters_of(const Config& config) {
  const double d = config.model_dim;
  double count = d * config.vocab_size + d;
  for (int i = 0; i < config.num_layers; ++i) {
    count += d * (config.qkv_dim(i) + config.q_dim(i) + 3 * config.ffn_dims[size_t(i)]) + 2 * d +
             2 * config.head_dim;
  }
  return count;
}

// `print_launches`: blocks of each, warps of a block, bytes that are loaded, and those of them
// before the wait.
void check_step(const Preset& preset, DType dtype, bool print_launches) {
  constexpr int kPosition = 500;
  const Config config = config_of(preset);
  const std::shared_ptr<Backend> backend =
      create_cuda_backend(0, default_kv_cache_dtype("cuda", dtype));
  LoadProgress progress(1, nullptr);
  const Weights weights =
      load_weights(*backend, config, zero_tensors(config, dtype), dtype, progress);
  Decoder decoder(*backend, weights, 1);
  KvCache cache(backend, config, 1024);
  SamplerOptions options;
  options.temperature = 0.8;
  options.top_p = 0.9;
  Sampler greedy(config.vocab_size, {});
  Sampler random(config.vocab_size, options);

  int position = kPosition;
  int token = 1;
  const auto step = [&](Sampler& sampler) {
    Batch batch;
    batch.tokens = {token};
    batch.positions = {position++};
    batch.caches = {&cache};
    batch.logit_rows = {0};
    batch.draws = {sampler.next_draw().value()};
    const std::atomic<bool> cancelled{false};
    const Counters before = counters;
    const Output output = decoder.forward(batch, cancelled);
    check(!output.logits && output.tokens, "a step gives a token and no logits");
    if (machine.runs_kernels) token = output.tokens[0];
    Counters difference = counters;
    difference.kernels -= before.kernels;
    difference.graphs -= before.graphs;
    difference.allocations -= before.allocations;
    difference.copied_bytes -= before.copied_bytes;
    difference.loaded_bytes -= before.loaded_bytes;
    return difference;
  };

  machine.runs_kernels = false;
  step(greedy);  // as it comes
  step(greedy);  // captured
  const std::string what = std::string(preset.name) + ": ";
  machine.runs_kernels = true;
  emulator::cuda::launches.clear();
  const Counters count = step(greedy);
  if (print_launches) {
    for (const emulator::cuda::Launched& launched : emulator::cuda::launches) {
      std::printf("launch %zu %d %llu %llu\n", launched.blocks, launched.lanes / 32,
                  static_cast<unsigned long long>(launched.loaded_bytes),
                  static_cast<unsigned long long>(launched.early_bytes));
    }
    return;
  }

  check(count.graphs == 1, what + "a step is one graph");
  check(count.kernels <= 5 * uint64_t(config.num_layers) + 3,
        what + "a step is at most 5 L + 3 kernels");
  check(count.allocations == 0, what + "a step allocates nothing");
  check(count.copied_bytes == 2 * sizeof(int32_t),
        what + "a step whose token the device does not know copies it and its position there");
  size_t needed = weights.bytes();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    needed += backend->k_cache_bytes(config, layer, position) +
              backend->v_cache_bytes(config, layer, position);
  }
  const double share = double(count.loaded_bytes) / double(needed);
  check(share > 0.97 && share < 1.03, what + "the bytes that kernels load");
  char summary[80];
  std::snprintf(summary, sizeof summary, "%d kernels, %.1f MB, %.4f of weights and live cache",
                int(count.kernels), double(count.loaded_bytes) / 1e6, share);
  note(summary);
  if (&preset != kPresets) return;
  check(step(greedy).copied_bytes == 0, "a step after one that drew its token copies nothing");
  check(step(random).copied_bytes == 0, "nor does one that draws by chance");
}

// The published counts.
void check_parameters() {
  constexpr double kCounts[] = {271527168, 457179136, 1079891456, 3036647424};
  for (int i = 0; i < 4; ++i) {
    check(parameters_of(config_of(kPresets[i])) == kCounts[i],
          std::string(kPresets[i].name) + " has as many parameters as published");
  }
}

}  // namespace
}  // namespace openelm

int main(int argc, char** argv) {
  using namespace openelm;
  machine.multiprocessors = 132;
  machine.sparse = true;
  test("the presets have as many parameters as published", check_parameters);
  for (const Preset& preset : kPresets) {
    if (argc > 1 && std::strcmp(argv[1], preset.name) != 0) continue;
    test(std::string("a step of ") + preset.name,
         [&] { check_step(preset, parse_dtype(argc > 2 ? argv[2] : "bfloat16"), argc > 3); });
  }
  test("all memory has been given back", [] { check(counters.live_bytes == 0, "some has not"); });
  return failures() > 0;
}
