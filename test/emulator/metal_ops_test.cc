// Every op of the Metal backend, for every dtype and both phases, against float64.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "../../native/half.h"
#include "../../native/metal/backend.h"
#include "../../native/model/kv_cache.h"
#include "../../native/quantize.h"
#include "block.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#endif

using namespace openelm;

namespace {

std::mt19937 random_source(7);

float draw() {
  // Halves that bfloat16 holds exactly, so that every float dtype stores the same numbers.
  std::uniform_int_distribution<int> steps(-128, 128);
  return float(steps(random_source)) / 128;
}

struct MemoryFile : File {
  explicit MemoryFile(std::vector<char> bytes) : bytes(std::move(bytes)) {}
  void read(uint64_t offset, size_t count, void* to) const override {
    std::memcpy(to, bytes.data() + offset, count);
  }
  const std::vector<char> bytes;
};

template <typename T>
std::shared_ptr<const File> file_of(const std::vector<T>& values) {
  const char* bytes = reinterpret_cast<const char*>(values.data());
  return std::make_shared<MemoryFile>(std::vector<char>(bytes, bytes + values.size() * sizeof(T)));
}

// A tensor as a checkpoint stores it and as the numbers that this means.
struct Tensor {
  TensorSource source;
  std::vector<double> values;  // [rows, cols]
};

Tensor make_tensor(const std::string& name, int rows, int cols, DType dtype, float scale,
                   float offset = 0) {
  Tensor tensor;
  TensorSource& source = tensor.source;
  source.name = name;
  source.rows = rows;
  source.cols = cols;
  std::vector<float> floats(size_t(rows) * cols);
  for (float& value : floats) value = offset + scale * draw();
  const int groups = source.groups();
  std::vector<uint8_t> packed;
  std::vector<uint16_t> scales(size_t(rows) * groups);
  switch (dtype) {
    case DType::kFloat32:
      source.format = TensorSource::Format::kF32;
      source.file = file_of(floats);
      break;
    case DType::kFloat16:
    case DType::kBFloat16: {
      const bool half = dtype == DType::kFloat16;
      source.format = half ? TensorSource::Format::kF16 : TensorSource::Format::kBF16;
      std::vector<uint16_t> bits;
      for (float& value : floats) {
        bits.push_back(half ? float_to_f16(value) : float_to_bf16(value));
        value = half ? f16_to_float(bits.back()) : bf16_to_float(bits.back());
      }
      source.file = file_of(bits);
      break;
    }
    case DType::kQ8:
      source.format = TensorSource::Format::kI8;
      packed.resize(size_t(rows) * groups * kGroupSize);
      for (int row = 0; row < rows; ++row) {
        auto* values = reinterpret_cast<int8_t*>(&packed[size_t(row) * groups * kGroupSize]);
        quantize_q8_row(&floats[size_t(row) * cols], cols, values, &scales[row * groups]);
        dequantize_q8_row(values, &scales[row * groups], cols, &floats[size_t(row) * cols]);
      }
      break;
    case DType::kQ4:
      source.format = TensorSource::Format::kU8;
      packed.resize(size_t(rows) * groups * kGroupSize / 2);
      for (int row = 0; row < rows; ++row) {
        uint8_t* values = &packed[size_t(row) * groups * kGroupSize / 2];
        quantize_q4_row(&floats[size_t(row) * cols], cols, values, &scales[row * groups]);
        dequantize_q4_row(values, &scales[row * groups], cols, &floats[size_t(row) * cols]);
      }
      break;
  }
  if (source.quantized()) {
    source.file = file_of(packed);
    source.scales_file = file_of(scales);
  }
  tensor.values.assign(floats.begin(), floats.end());
  return tensor;
}

using Doubles = std::vector<double>;

// One layer of a model in float64.
struct Oracle {
  const Config& config;
  std::map<std::string, Tensor> tensors;

  const Doubles& values(const std::string& name) const {
    return tensors.at("transformer." + name).values;
  }
  const Doubles& values(int layer, const std::string& name) const {
    return values("layers." + std::to_string(layer) + "." + name);
  }

  Doubles norm(const double* x, const Doubles& weight) const {
    const size_t n = weight.size();
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += x[i] * x[i];
    const double scale = 1 / std::sqrt(squares / double(n) + config.rms_norm_eps);
    Doubles y(n);
    for (size_t i = 0; i < n; ++i) y[i] = x[i] * scale * weight[i];
    return y;
  }

  static Doubles product(const Doubles& w, const Doubles& x) {
    Doubles y(w.size() / x.size());
    for (size_t row = 0; row < y.size(); ++row) {
      for (size_t i = 0; i < x.size(); ++i) y[row] += w[row * x.size() + i] * x[i];
    }
    return y;
  }

  // Norm (of q and k) and RoPE of the first `heads` heads.
  void finish_heads(double* heads, int count, const Doubles* weight, int position) const {
    const int h = config.head_dim;
    for (int n = 0; n < count; ++n, heads += h) {
      if (weight) {
        const Doubles normed = norm(heads, *weight);
        std::copy(normed.begin(), normed.end(), heads);
      }
      for (int j = 0; j < h / 2; ++j) {
        const double angle = position * std::pow(double(config.rope_freq_constant), -2.0 * j / h);
        const double a = heads[j], b = heads[j + h / 2];
        heads[j] = a * std::cos(angle) - b * std::sin(angle);
        heads[j + h / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  // qkv of one token, finished.
  Doubles qkv(int layer, const double* x, int position) const {
    Doubles y = product(values(layer, "attn.qkv_proj.weight"),
                        norm(x, values(layer, "attn_norm.weight")));
    const bool norms = config.normalize_qk_projections;
    finish_heads(y.data(), config.num_query_heads[layer],
                 norms ? &values(layer, "attn.q_norm.weight") : nullptr, position);
    finish_heads(y.data() + config.q_dim(layer), config.num_kv_heads[layer],
                 norms ? &values(layer, "attn.k_norm.weight") : nullptr, position);
    return y;
  }

  // Of one token over the qkv of its session's positions up to its own.
  Doubles attention(int layer, const Doubles& own, const std::vector<Doubles>& session) const {
    const int h = config.head_dim;
    const int group = config.num_query_heads[layer] / config.num_kv_heads[layer];
    Doubles a(config.q_dim(layer));
    for (int head = 0; head < config.num_query_heads[layer]; ++head) {
      const int k_at = config.q_dim(layer) + head / group * h;
      const int v_at = k_at + config.kv_dim(layer);
      Doubles weights;
      double total = 0;
      for (const Doubles& other : session) {
        double score = 0;
        for (int j = 0; j < h; ++j) score += own[head * h + j] * other[k_at + j];
        weights.push_back(std::exp(score / std::sqrt(double(h))));
        total += weights.back();
      }
      for (size_t p = 0; p < session.size(); ++p) {
        for (int j = 0; j < h; ++j) a[head * h + j] += weights[p] / total * session[p][v_at + j];
      }
    }
    return a;
  }
};

// A model of random weights on the backend, and what its ops should give.
class Model {
 public:
  Model(const Config& config, DType dtype)
      : config_(config), oracle_{config_, {}} {
    const auto add = [&](const std::string& name, int rows, int cols, DType type, float scale,
                         float offset = 0) {
      const std::string full = "transformer." + name + ".weight";
      oracle_.tensors[full] = make_tensor(full, rows, cols, type, scale, offset);
    };
    const auto vector = [&](const std::string& name, int size) {
      add(name, 1, size, DType::kFloat32, 0.25f, 1);
    };
    const int d = config.model_dim;
    const DType embedding = dtype == DType::kQ4 ? DType::kQ8 : dtype;
    add("token_embeddings", config.vocab_size, d, embedding, 1);
    for (int i = 0; i < config.num_layers; ++i) {
      const std::string prefix = "layers." + std::to_string(i) + ".";
      const int f = config.ffn_dims[i];
      vector(prefix + "attn_norm", d);
      vector(prefix + "ffn_norm", d);
      vector(prefix + "attn.q_norm", config.head_dim);
      vector(prefix + "attn.k_norm", config.head_dim);
      add(prefix + "attn.qkv_proj", config.qkv_dim(i), d, dtype, 0.5f);
      add(prefix + "attn.out_proj", d, config.q_dim(i), dtype, 0.5f);
      add(prefix + "ffn.proj_1", config.ffn_with_glu ? 2 * f : f, d, dtype, 0.5f);
      add(prefix + "ffn.proj_2", d, f, dtype, 0.5f);
    }
    vector("norm", d);
    std::vector<TensorSource> sources;
    for (const auto& [name, tensor] : oracle_.tensors) sources.push_back(tensor.source);
    LoadProgress progress(1, nullptr);
    weights_ = load_weights(backend_, config_, sources, dtype, progress);
    backend_.weights = &weights_;
    cache_tolerance_ = dtype == DType::kFloat32 ? 1e-5 : 5e-3;
  }

  // Sessions of these lengths take `counts` more tokens each, all in one batch.
  void check(const std::vector<int>& lengths, const std::vector<int>& counts) {
    Batch batch;
    std::vector<std::unique_ptr<KvCache>> caches;
    for (size_t s = 0; s < lengths.size(); ++s) {
      const int end = lengths[s] + counts[s];
      caches.push_back(std::make_unique<KvCache>(shared_backend_, config_, end));
      for (int p = lengths[s]; p < end; ++p) {
        batch.tokens.push_back(int(random_source() % config_.vocab_size));
        batch.positions.push_back(p);
        batch.caches.push_back(caches.back().get());
      }
    }
    const int last = batch.size() - 1;
    batch.logit_rows = {last};
    check_embed(batch);
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      check_attention(layer, batch, lengths, caches);
      check_ffn(layer, batch);
    }
    check_logits(batch);
    if (last == 0) return;
    for (int t = 0; t < last; t += 2) batch.logit_rows.insert(batch.logit_rows.end() - 1, t);
    check_logits(batch);
  }

 private:
  Buffer make(size_t count) {
    Buffer buffer = backend_.allocate(count * sizeof(float));
    ASAN_POISON_MEMORY_REGION(buffer.as<char>() + buffer.bytes, -buffer.bytes % 4096);
    return buffer;
  }

  Buffer random(size_t count) {
    Buffer buffer = make(count);
    for (size_t i = 0; i < count; ++i) buffer.as<float>()[i] = draw();
    return buffer;
  }

  static Doubles row(const Buffer& buffer, size_t index, size_t width) {
    const float* from = buffer.as<float>() + index * width;
    return Doubles(from, from + width);
  }

  template <typename Op>
  void run(const Batch& batch, const Op& op) {
    backend_.begin(batch);
    op();
    backend_.read_logits(nullptr, 0);
  }

  static void compare(const char* op, const float* actual, const Doubles& expected,
                      double tolerance) {
    double largest = 1e-3, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      const double difference = std::abs(actual[i] - expected[i]);
      error = std::isnan(difference) ? INFINITY : std::max(error, difference);
    }
    if (error <= tolerance * largest) return;
    throw std::runtime_error(std::string(op) + " is off by " + std::to_string(error / largest));
  }

  void check_embed(const Batch& batch) {
    const int d = config_.model_dim;
    const Buffer x = make(size_t(batch.size()) * d);
    run(batch, [&] { backend_.embed(batch, x.as<float>()); });
    for (int t = 0; t < batch.size(); ++t) {
      const double* from = &oracle_.values("token_embeddings.weight")[size_t(batch.tokens[t]) * d];
      compare("embed", x.as<float>() + size_t(t) * d, Doubles(from, from + d), 0);
    }
  }

  // norm_qkv and attention together, since what a cache looks like is the backend's affair. Earlier
  // positions come as a batch of their own.
  void check_attention(int index, const Batch& batch, const std::vector<int>& lengths,
                       const std::vector<std::unique_ptr<KvCache>>& caches) {
    const Layer& layer = weights_.layers[index];
    const size_t d = config_.model_dim, q_dim = config_.q_dim(index);
    std::map<const KvCache*, std::vector<Doubles>> sessions;
    const auto append = [&](const Batch& some, const Buffer& x) {
      for (int t = 0; t < some.size(); ++t) {
        sessions[some.caches[t]].push_back(
            oracle_.qkv(index, row(x, t, d).data(), some.positions[t]));
      }
    };
    for (size_t s = 0; s < lengths.size(); ++s) {
      if (lengths[s] == 0) continue;
      Batch earlier;
      for (int p = 0; p < lengths[s]; ++p) {
        earlier.tokens.push_back(0);
        earlier.positions.push_back(p);
        earlier.caches.push_back(caches[s].get());
      }
      const Buffer x = random(lengths[s] * d);
      const Buffer q = make(lengths[s] * q_dim);
      run(earlier, [&] { backend_.norm_qkv(layer, earlier, x.as<float>(), q.as<float>()); });
      append(earlier, x);
    }
    const Buffer x = random(batch.size() * d);
    const Buffer q = make(batch.size() * q_dim);
    const Buffer a = make(batch.size() * q_dim);
    const Buffer y = random(batch.size() * d);
    const Buffer before = make(batch.size() * d);
    backend_.copy(before.as<void>(), y.as<void>(), y.bytes);
    run(batch, [&] {
      backend_.norm_qkv(layer, batch, x.as<float>(), q.as<float>());
      backend_.attention(layer, batch, q.as<float>(), a.as<float>());
      backend_.out_proj_add(layer, batch, a.as<float>(), y.as<float>());
    });
    append(batch, x);
    for (int t = 0; t < batch.size(); ++t) {
      const std::vector<Doubles>& session = sessions[batch.caches[t]];
      const std::vector<Doubles> seen(session.begin(), session.begin() + batch.positions[t] + 1);
      compare("attention", a.as<float>() + t * q_dim,
              oracle_.attention(index, seen.back(), seen), cache_tolerance_);
      Doubles sum = Oracle::product(oracle_.values(index, "attn.out_proj.weight"),
                                    row(a, t, q_dim));
      for (size_t i = 0; i < d; ++i) sum[i] += before.as<float>()[t * d + i];
      compare("out_proj_add", y.as<float>() + t * d, sum, 1e-5);
    }
  }

  void check_ffn(int index, const Batch& batch) {
    const Layer& layer = weights_.layers[index];
    const size_t d = config_.model_dim, f = layer.ffn_dim;
    const Buffer x = random(batch.size() * d);
    const Buffer before = make(batch.size() * d);
    const Buffer g = make(batch.size() * f);
    backend_.copy(before.as<void>(), x.as<void>(), x.bytes);
    run(batch, [&] {
      backend_.norm_swiglu(layer, batch, x.as<float>(), g.as<float>());
      backend_.ffn_down_add(layer, batch, g.as<float>(), x.as<float>());
    });
    for (int t = 0; t < batch.size(); ++t) {
      Doubles both = Oracle::product(
          oracle_.values(index, "ffn.proj_1.weight"),
          oracle_.norm(row(before, t, d).data(), oracle_.values(index, "ffn_norm.weight")));
      Doubles expected(f);
      for (size_t i = 0; i < f; ++i) {
        expected[i] = both[i] / (1 + std::exp(-both[i])) * (config_.ffn_with_glu ? both[f + i] : 1);
      }
      compare("norm_swiglu", g.as<float>() + t * f, expected, 1e-5);
      Doubles sum = Oracle::product(oracle_.values(index, "ffn.proj_2.weight"), row(g, t, f));
      for (size_t i = 0; i < d; ++i) sum[i] += before.as<float>()[t * d + i];
      compare("ffn_down_add", x.as<float>() + t * d, sum, 1e-5);
    }
  }

  void check_logits(const Batch& batch) {
    const size_t d = config_.model_dim, vocab = config_.vocab_size;
    const Buffer x = random(batch.size() * d);
    const Buffer logits = make(batch.logit_rows.size() * vocab);
    run(batch, [&] { backend_.norm_logits(batch, x.as<float>(), logits.as<float>()); });
    for (size_t n = 0; n < batch.logit_rows.size(); ++n) {
      compare("norm_logits", logits.as<float>() + n * vocab,
              Oracle::product(oracle_.values("token_embeddings.weight"),
                              oracle_.norm(row(x, batch.logit_rows[n], d).data(),
                                           oracle_.values("norm.weight"))),
              1e-5);
    }
  }

  const Config config_;
  Oracle oracle_;
  std::shared_ptr<MetalBackend> shared_backend_ = std::make_shared<MetalBackend>(0);
  MetalBackend& backend_ = *shared_backend_;
  Weights weights_;
  double cache_tolerance_;
};

Config shape(int model_dim, int head_dim, std::vector<int> queries, std::vector<int> kvs,
             std::vector<int> ffns, int vocab) {
  Config config;
  config.num_layers = int(queries.size());
  config.model_dim = model_dim;
  config.head_dim = head_dim;
  config.vocab_size = vocab;
  config.max_context_length = 256;
  config.num_query_heads = std::move(queries);
  config.num_kv_heads = std::move(kvs);
  config.ffn_dims = std::move(ffns);
  return config;
}

}  // namespace

int main() {
  Config uneven = shape(70, 10, {6, 5}, {2, 1}, {37, 45}, 101);
  Config plain = shape(100, 64, {4, 8}, {1, 2}, {48, 160}, 67);
  plain.ffn_with_glu = false;
  plain.normalize_qk_projections = false;
  const Config wide = shape(96, 128, {4}, {1}, {64}, 33);
  const char* const dtypes[] = {"float32", "float16", "bfloat16", "q8", "q4"};
  const char* const orders[] = {"forward", "reverse", "random"};
  int failures = 0;
  for (int order = 0; order < 3; ++order) {
    emulator::settings.order = emulator::Order(order);
    for (const char* dtype : dtypes) {
      for (const Config& config : {uneven, plain, wide}) {
        try {
          Model model(config, parse_dtype(dtype));
          model.check({0}, {1});
          model.check({21}, {1});
          model.check({0}, {37});
          model.check({5, 0, 18}, {1, 9, 1});
        } catch (const std::exception& error) {
          std::printf("%s, %s order, head_dim %d: %s\n", dtype, orders[order], config.head_dim,
                      error.what());
          ++failures;
        }
      }
    }
  }
  return failures > 0;
}
