// How fast the presets decode and prefill on this device, beside what the device can do. Weights
// are random: speed does not depend on them.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "../model.h"
#include "../tensors.h"
#include "cuda/cuda.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/load.h"
#include "probes.h"

namespace openelm {
namespace {

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

double median(std::vector<double> values, double quantile = 0.5) {
  std::sort(values.begin(), values.end());
  return values[size_t(quantile * double(values.size() - 1))];
}

// The median time of one run, each waited for.
template <typename Run>
double time_of(const cuda::Stream& stream, int repeats, const Run& run) {
  run();
  stream.synchronize();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const double start = now();
    run();
    stream.synchronize();
    times.push_back(now() - start);
  }
  return median(times);
}

struct Limits {
  double bandwidth;     // bytes a second, read and written
  double matrix_rate;   // operations a second, bfloat16
  double empty_kernel;  // seconds, in a graph of many
};

Limits measure_limits(bool tiny) {
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, 0), "ask for the device's properties");
  const cuda::Stream stream(properties.major >= 9);
  Limits limits;

  const size_t bytes = tiny ? size_t(1) << 20 : size_t(1) << 30;
  const auto from = cuda::allocate_device(bytes);
  const auto to = cuda::allocate_device(bytes);
  limits.bandwidth = 2.0 * double(bytes) / time_of(stream, 20, [&] {
                       cuda::check(cudaMemcpyAsync(to.get(), from.get(), bytes,
                                                   cudaMemcpyDeviceToDevice, stream.get()),
                                   "copy");
                     });

  double operations = 0;
  const double matrix_time = time_of(stream, 20, [&] {
    operations = cuda::launch_matrix_probe(stream, properties.multiProcessorCount, tiny ? 2 : 20000,
                                           static_cast<float*>(to.get()));
  });
  limits.matrix_rate = operations / matrix_time;

  constexpr int kKernels = 200;
  cuda::Graph graph;
  graph.begin_capture(stream);
  for (int i = 0; i < kKernels; ++i) cuda::launch_empty_kernel(stream);
  graph.end_capture();
  limits.empty_kernel = time_of(stream, 20, [&] { graph.launch(stream); }) / kKernels;

  std::printf("%s: copies at %.0f GB/s, bfloat16 matrices at %.0f TFLOP/s, kernels %.2f us apart\n",
              properties.name, limits.bandwidth / 1e9, limits.matrix_rate / 1e12,
              limits.empty_kernel * 1e6);
  return limits;
}

struct Lengths {
  int prompt;
  int steps;
};

double parameters_of(const Config& config) {
  double count = 0;
  for (int i = 0; i < config.num_layers; ++i) {
    count += double(config.model_dim) *
             (config.qkv_dim(i) + config.q_dim(i) + 3.0 * config.ffn_dims[size_t(i)]);
  }
  return count;
}

void bench(const std::string& name, const Config& config, DType dtype, const Limits& limits,
           const Lengths& lengths) {
  const std::shared_ptr<Backend> backend =
      create_cuda_backend(0, default_kv_cache_dtype("cuda", dtype));
  backend->require(config);
  LoadProgress progress(1, nullptr);
  const double load_start = now();
  const Weights weights =
      load_weights(*backend, config, make_tensors(config, dtype), dtype, progress);
  const double load_time = now() - load_start;
  Decoder decoder(*backend, weights, lengths.prompt);
  KvCache cache(backend, config, config.max_context_length);
  const std::atomic<bool> cancelled{false};

  int position = 0;
  const auto append = [&](int count) {
    Batch batch;
    for (int i = 0; i < count; ++i) {
      batch.tokens.push_back((31 * (position + i)) % config.vocab_size);
      batch.positions.push_back(position + i);
      batch.caches.push_back(&cache);
    }
    batch.logit_rows = {count - 1};
    batch.draws = {DrawArgs{}};  // the likeliest token
    const double start = now();
    decoder.forward(batch, cancelled);
    position += count;
    return now() - start;
  };

  std::vector<double> prefills;
  for (int i = 0; i < 6; ++i) {
    position = 0;
    prefills.push_back(append(lengths.prompt));
  }
  const double prefill = median({prefills.begin() + 1, prefills.end()});
  append(1);
  std::vector<double> steps;
  double bytes = 0;
  for (int i = 0; i < lengths.steps; ++i) {
    steps.push_back(append(1));
    bytes = double(weights.bytes());
    for (int layer = 0; layer < config.num_layers; ++layer) {
      bytes += double(backend->k_cache_bytes(config, layer, position) +
                      backend->v_cache_bytes(config, layer, position));
    }
  }
  const double step = median(steps);
  const double between = limits.empty_kernel * (7 * config.num_layers + 3);
  const double operations = 2 * parameters_of(config) * lengths.prompt;
  std::printf("%-5s %-9s %7.0f %8.3f %8.3f %9.0f%% %8.0f%% %9.0f %8.0f%% %7.1f\n", name.c_str(),
              dtype_name(dtype), 1 / step, step * 1e3, median(steps, 0.95) * 1e3,
              100 * bytes / step / limits.bandwidth, 100 * between / step, lengths.prompt / prefill,
              100 * operations / prefill / limits.matrix_rate, load_time);
}

}  // namespace
}  // namespace openelm

// With the argument "tiny": a model that an emulator can run.
int main(int argc, char** argv) {
  using namespace openelm;
  const bool tiny = argc > 1 && std::string(argv[1]) == "tiny";
  try {
    const Limits limits = measure_limits(tiny);
    std::printf("%-5s %-9s %7s %8s %8s %10s %9s %9s %9s %7s\n", "model", "dtype", "decode/s",
                "p50 ms", "p95 ms", "bandwidth", "between", "prefill/s", "matrices", "load s");
    for (const Preset& preset : kPresets) {
      for (DType dtype : {DType::kBFloat16, DType::kQ8, DType::kQ4}) {
        if (tiny) {
          bench("tiny", config_of({"tiny", 2, 256, 64}), dtype, limits, {40, 3});
        } else {
          bench(preset.name, config_of(preset), dtype, limits, {512, 128});
        }
      }
      if (tiny) break;
    }
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
}
