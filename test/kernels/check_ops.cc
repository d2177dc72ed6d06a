#include "check_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "../../native/model/kv_cache.h"
#include "oracle.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON_AFTER(buffer) \
  ASAN_POISON_MEMORY_REGION((buffer).as<char>() + (buffer).bytes, -(buffer).bytes % 4096)
#endif
#endif
#ifndef POISON_AFTER
#define POISON_AFTER(buffer)
#endif

namespace openelm {

namespace {

class OpChecker {
 public:
  OpChecker(std::shared_ptr<Backend> backend, const Config& config, DType dtype,
            const Tolerances& tolerances)
      : backend_(std::move(backend)), oracle_{config, {}}, tolerances_(tolerances) {
    make_tensors(dtype);
    std::vector<TensorSource> sources;
    for (const auto& [name, tensor] : oracle_.tensors) sources.push_back(tensor.source);
    LoadProgress progress(1, nullptr);
    weights_ = load_weights(*backend_, config, sources, dtype, progress);
    backend_->weights = &weights_;
  }

  ~OpChecker() { backend_->weights = nullptr; }

  void check(const std::vector<Append>& appends) {
    Batch batch;
    std::vector<std::unique_ptr<KvCache>> caches;
    for (const Append& append : appends) {
      const int end = append.length + append.count;
      caches.push_back(std::make_unique<KvCache>(backend_, oracle_.config, end));
      add_tokens(batch, caches.back().get(), append.length, append.count);
    }
    const int last = batch.size() - 1;
    batch.logit_rows = {last};
    check_embed(batch);
    for (const Layer& layer : weights_.layers) {
      check_attention(layer, batch, appends, caches);
      check_ffn(layer, batch);
    }
    check_logits(batch);
    if (last == 0) return;
    for (int t = 0; t < last; t += 2) batch.logit_rows.insert(batch.logit_rows.end() - 1, t);
    check_logits(batch);
  }

 private:
  void make_tensors(DType dtype) {
    const Config& config = oracle_.config;
    const auto matrix = [&](const std::string& name, int rows, int cols, DType type, float scale) {
      const std::string full = "transformer." + name + ".weight";
      oracle_.tensors[full] = random_tensor(full, rows, cols, type, 0, scale, random_);
    };
    const auto vector = [&](const std::string& name, int size) {
      const std::string full = "transformer." + name + ".weight";
      oracle_.tensors[full] = random_tensor(full, 1, size, DType::kFloat32, 1, 0.25f, random_);
    };
    const int d = config.model_dim;
    matrix("token_embeddings", config.vocab_size, d, dtype == DType::kQ4 ? DType::kQ8 : dtype, 1);
    for (int i = 0; i < config.num_layers; ++i) {
      const std::string prefix = "layers." + std::to_string(i) + ".";
      const int f = config.ffn_dims[i];
      vector(prefix + "attn_norm", d);
      matrix(prefix + "attn.qkv_proj", config.qkv_dim(i), d, dtype, 0.1f);
      vector(prefix + "attn.q_norm", config.head_dim);
      vector(prefix + "attn.k_norm", config.head_dim);
      matrix(prefix + "attn.out_proj", d, config.q_dim(i), dtype, 0.1f);
      vector(prefix + "ffn_norm", d);
      matrix(prefix + "ffn.proj_1", config.ffn_with_glu ? 2 * f : f, d, dtype, 0.1f);
      matrix(prefix + "ffn.proj_2", d, f, dtype, 0.1f);
    }
    vector("norm", d);
  }

  void add_tokens(Batch& batch, KvCache* cache, int first_position, int count) {
    for (int p = first_position; p < first_position + count; ++p) {
      batch.tokens.push_back(int(random_() % unsigned(oracle_.config.vocab_size)));
      batch.positions.push_back(p);
      batch.caches.push_back(cache);
    }
  }

  // Activations go to the backend the way norm weights do, and come back the way logits do: that
  // works wherever its memory is.
  Buffer upload(const std::vector<float>& values) {
    LoadProgress progress(1, nullptr);
    Buffer buffer = backend_->load_vector(vector_source(values), progress);
    POISON_AFTER(buffer);
    return buffer;
  }

  Buffer allocate(size_t count) {
    Buffer buffer = backend_->allocate(count * sizeof(float));
    POISON_AFTER(buffer);
    return buffer;
  }

  std::vector<float> read(const Buffer& buffer) {
    const size_t count = buffer.bytes / sizeof(float);
    const float* values = backend_->read_logits(buffer.as<float>(), count);
    return std::vector<float>(values, values + count);
  }

  std::vector<float> random_rows(const Batch& batch, int width) {
    std::uniform_real_distribution<float> draw(-1, 1);
    std::vector<float> rows(size_t(batch.size()) * width);
    for (float& value : rows) value = draw(random_);
    return rows;
  }

  static Doubles row(const std::vector<float>& rows, int index, int width) {
    const auto begin = rows.begin() + size_t(index) * width;
    return Doubles(begin, begin + width);
  }

  static void compare(const char* op, const Doubles& actual, const Doubles& expected,
                      double tolerance) {
    double largest = 1e-3, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      const double difference = std::abs(actual[i] - expected[i]);
      error = std::isnan(difference) ? INFINITY : std::max(error, difference);
    }
    if (error <= tolerance * largest) return;
    char text[64];
    std::snprintf(text, sizeof text, " is off by %.2g", error / largest);
    throw std::runtime_error(op + std::string(text));
  }

  double tolerance(const Batch& batch) const {
    return batch.size() == 1 ? tolerances_.decode : tolerances_.prefill;
  }

  void check_embed(const Batch& batch) {
    const int d = oracle_.config.model_dim;
    const Buffer x = allocate(size_t(batch.size()) * d);
    backend_->begin(batch);
    backend_->embed(batch, x.as<float>());
    const std::vector<float> rows = read(x);
    for (int t = 0; t < batch.size(); ++t) {
      compare("embed", row(rows, t, d), oracle_.embed(batch.tokens[t]), 1e-7);
    }
  }

  // norm_qkv shows in attention: what q and the caches hold between the two is the backend's
  // affair. Earlier positions come as batches of their own.
  void check_attention(const Layer& layer, const Batch& batch, const std::vector<Append>& appends,
                       const std::vector<std::unique_ptr<KvCache>>& caches) {
    const int d = oracle_.config.model_dim;
    const int q_dim = oracle_.config.q_dim(layer.index);
    std::map<const KvCache*, std::vector<Doubles>> sessions;
    const auto norm_qkv = [&](const Batch& some, const Buffer& q) {
      const std::vector<float> x = random_rows(some, d);
      const Buffer uploaded = upload(x);
      backend_->begin(some);
      backend_->norm_qkv(layer, some, uploaded.as<float>(), q.as<float>());
      for (int t = 0; t < some.size(); ++t) {
        sessions[some.caches[t]].push_back(
            oracle_.norm_qkv(layer.index, row(x, t, d), some.positions[t]));
      }
      return uploaded;
    };
    for (size_t s = 0; s < appends.size(); ++s) {
      if (appends[s].length == 0) continue;
      Batch earlier;
      add_tokens(earlier, caches[s].get(), 0, appends[s].length);
      earlier.logit_rows = {0};
      const Buffer q = allocate(size_t(earlier.size()) * q_dim);
      const Buffer x = norm_qkv(earlier, q);
      read(q);
    }
    const Buffer q = allocate(size_t(batch.size()) * q_dim);
    const Buffer a = allocate(size_t(batch.size()) * q_dim);
    const std::vector<float> before = random_rows(batch, d);
    const Buffer y = upload(before);
    const Buffer x = norm_qkv(batch, q);
    backend_->attention(layer, batch, q.as<float>(), a.as<float>());
    backend_->out_proj_add(layer, batch, a.as<float>(), y.as<float>());
    const std::vector<float> y_rows = read(y);
    const std::vector<float> a_rows = read(a);
    for (int t = 0; t < batch.size(); ++t) {
      std::vector<Doubles> seen = sessions[batch.caches[t]];
      seen.resize(batch.positions[t] + 1);
      compare("attention", row(a_rows, t, q_dim), oracle_.attention(layer.index, seen),
              tolerances_.attention);
      compare("out_proj_add", row(y_rows, t, d),
              oracle_.out_proj_add(layer.index, row(a_rows, t, q_dim), row(before, t, d)),
              tolerance(batch));
    }
  }

  void check_ffn(const Layer& layer, const Batch& batch) {
    const int d = oracle_.config.model_dim;
    const std::vector<float> before = random_rows(batch, d);
    const Buffer x = upload(before);
    const Buffer g = allocate(size_t(batch.size()) * layer.ffn_dim);
    backend_->begin(batch);
    backend_->norm_swiglu(layer, batch, x.as<float>(), g.as<float>());
    backend_->ffn_down_add(layer, batch, g.as<float>(), x.as<float>());
    const std::vector<float> x_rows = read(x);
    const std::vector<float> g_rows = read(g);
    for (int t = 0; t < batch.size(); ++t) {
      compare("norm_swiglu", row(g_rows, t, layer.ffn_dim),
              oracle_.norm_swiglu(layer.index, row(before, t, d)), tolerance(batch));
      compare("ffn_down_add", row(x_rows, t, d),
              oracle_.ffn_down_add(layer.index, row(g_rows, t, layer.ffn_dim), row(before, t, d)),
              tolerance(batch));
    }
  }

  void check_logits(const Batch& batch) {
    const int d = oracle_.config.model_dim;
    const int vocab_size = oracle_.config.vocab_size;
    const std::vector<float> x = random_rows(batch, d);
    const Buffer uploaded = upload(x);
    const Buffer logits = allocate(batch.logit_rows.size() * vocab_size);
    backend_->begin(batch);
    backend_->norm_logits(batch, uploaded.as<float>(), logits.as<float>());
    const std::vector<float> rows = read(logits);
    for (size_t n = 0; n < batch.logit_rows.size(); ++n) {
      compare("norm_logits", row(rows, int(n), vocab_size),
              oracle_.norm_logits(row(x, batch.logit_rows[n], d)), tolerance(batch));
    }
  }

  const std::shared_ptr<Backend> backend_;
  Oracle oracle_;
  const Tolerances tolerances_;
  Weights weights_;
  std::mt19937 random_{7};
};

Config shape(int model_dim, int head_dim, std::vector<int> num_query_heads,
             std::vector<int> num_kv_heads, std::vector<int> ffn_dims, int vocab_size) {
  Config config;
  config.num_layers = int(ffn_dims.size());
  config.model_dim = model_dim;
  config.head_dim = head_dim;
  config.vocab_size = vocab_size;
  config.max_context_length = 256;
  config.num_query_heads = std::move(num_query_heads);
  config.num_kv_heads = std::move(num_kv_heads);
  config.ffn_dims = std::move(ffn_dims);
  return config;
}

}  // namespace

void check_ops(const std::shared_ptr<Backend>& backend, const Config& config, DType dtype,
               const std::vector<std::vector<Append>>& batches, const Tolerances& tolerances) {
  OpChecker checker(backend, config, dtype, tolerances);
  for (const std::vector<Append>& batch : batches) checker.check(batch);
}

std::vector<Config> uneven_shapes() {
  Config plain = shape(100, 64, {4, 8}, {1, 2}, {48, 160}, 67);
  plain.ffn_with_glu = false;
  plain.normalize_qk_projections = false;
  return {shape(70, 10, {6, 5}, {2, 1}, {37, 45}, 101), plain, shape(96, 128, {4}, {1}, {64}, 33)};
}

std::vector<std::vector<Append>> usual_batches() {
  return {{{0, 1}}, {{21, 1}}, {{0, 37}}, {{5, 1}, {0, 9}, {18, 1}, {3, 11}}};
}

}  // namespace openelm
