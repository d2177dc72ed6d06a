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
#include "cuda/kernels.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/load.h"
#include "model/sampler.h"
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
  int multiprocessors;
  bool overlaps;
  double bandwidth;     // bytes a second, read and written
  double matrix_rate;   // operations a second, bfloat16
  double empty_kernel;  // seconds, in a graph of many
};

Limits measure_limits(bool tiny) {
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, 0), "ask for the device's properties");
  Limits limits;
  limits.multiprocessors = properties.multiProcessorCount;
  limits.overlaps = properties.major >= 9;
  const cuda::Stream stream(limits.overlaps);

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

// Of each product with weights: in a graph of all layers, more bytes than a cache holds, the time
// of a launch and the share of the bandwidth, with and without overlap.
void print_products(const Weights& weights, const Limits& limits, int repeats) {
  const Config& config = weights.config;
  const auto floats = [](size_t count) { return cuda::allocate_device(count * sizeof(float)); };
  const auto x = floats(std::max({config.model_dim, config.max_q_dim(), config.max_ffn_dim()}));
  const auto y =
      floats(std::max({config.vocab_size, config.max_qkv_dim(), 2 * config.max_ffn_dim()}));
  const auto measure = [&](const char* name, const std::vector<const Matrix*>& matrices,
                           const Buffer* norm, cuda::Epilogue epilogue) {
    size_t bytes = 0;
    for (const Matrix* matrix : matrices) bytes += matrix->data.bytes;
    std::printf("  %-8s", name);
    for (const bool overlaps : {limits.overlaps, false}) {
      const cuda::Stream stream(overlaps);
      cuda::Graph graph;
      graph.begin_capture(stream);
      for (const Matrix* matrix : matrices) {
        cuda::matvec({stream, limits.multiprocessors},
                     {cuda::view(*matrix), static_cast<const float*>(x.get()),
                      norm ? norm->as<float>() : nullptr, config.rms_norm_eps,
                      static_cast<float*>(y.get()), epilogue});
      }
      graph.end_capture();
      const double time = time_of(stream, repeats, [&] { graph.launch(stream); });
      std::printf("  %7.2f us a launch, %3.0f%%", time / double(matrices.size()) * 1e6,
                  100 * double(bytes) / time / limits.bandwidth);
    }
    std::printf("\n");
  };
  std::vector<const Matrix*> qkv, out, up, down;
  for (const Layer& layer : weights.layers) {
    qkv.push_back(&layer.qkv_proj);
    out.push_back(&layer.out_proj);
    up.push_back(&layer.proj_1);
    down.push_back(&layer.proj_2);
  }
  measure("qkv_proj", qkv, &weights.layers[0].attn_norm, cuda::Epilogue::kStore);
  measure("out_proj", out, nullptr, cuda::Epilogue::kAdd);
  measure("proj_1", up, &weights.layers[0].ffn_norm, cuda::Epilogue::kSwiglu);
  measure("proj_2", down, nullptr, cuda::Epilogue::kAdd);
  measure("head", {&weights.lm_head}, &weights.norm, cuda::Epilogue::kStore);
}

// Of a whole step at several positions, greedy or not, each waited for or with the next in the
// stream already, as in a generation.
void print_steps(Decoder& decoder, KvCache& cache, const Config& config, int steps) {
  struct Way {
    const char* name;
    double temperature, top_p;
    bool ahead;
  };
  const std::atomic<bool> cancelled{false};
  for (const Way& way : {Way{"greedy", 0, 1, false}, Way{"ahead", 0, 1, true},
                         Way{"T=1", 1, 1, true}, Way{"top-p", 1, 0.9, true}}) {
    std::printf("  %-8s", way.name);
    for (const int begin : {64, 512, 1900}) {
      SamplerOptions options;
      options.temperature = way.temperature;
      options.top_p = way.top_p;
      Sampler sampler(config.vocab_size, options);
      std::vector<double> times;
      int token = 1;
      for (int i = 0; i < steps; ++i) {
        Batch batch;
        batch.tokens = {token};
        batch.positions = {begin + i};
        batch.caches = {&cache};
        batch.logit_rows = {0};
        batch.draws = {sampler.next_draw().value()};
        if (way.ahead) batch.next_draw = sampler.next_draw(1);
        const double start = now();
        token = std::max(decoder.forward(batch, cancelled).tokens[0], 0);
        sampler.take(token);
        times.push_back(now() - start);
      }
      std::printf("  %7.1f us at %4d", median(times) * 1e6, begin);
    }
    std::printf("\n");
  }
}

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
  const double between = limits.empty_kernel * (5 * config.num_layers + 3);
  const double operations = 2 * parameters_of(config) * lengths.prompt;
  std::printf("%-5s %-9s %7.0f %8.3f %8.3f %9.0f%% %8.0f%% %9.0f %8.0f%% %7.1f\n", name.c_str(),
              dtype_name(dtype), 1 / step, step * 1e3, median(steps, 0.95) * 1e3,
              100 * bytes / step / limits.bandwidth, 100 * between / step, lengths.prompt / prefill,
              100 * operations / prefill / limits.matrix_rate, load_time);
  print_products(weights, limits, lengths.steps > 20 ? 20 : 1);
  print_steps(decoder, cache, config, lengths.steps);
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
          bench("tiny", config_of({"tiny", 2, 256, 64}), dtype, limits, {40, 1});
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
