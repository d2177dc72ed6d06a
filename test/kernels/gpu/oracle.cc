#include "oracle.h"

#include <algorithm>
#include <cmath>

namespace openelm::test {

Row to_row(const std::vector<float>& values, size_t first, size_t count) {
  return Row(values.begin() + std::ptrdiff_t(first),
             values.begin() + std::ptrdiff_t(first + count));
}

Row add(const Row& a, const Row& b) {
  Row sum(a.size());
  for (size_t i = 0; i < a.size(); ++i) sum[i] = a[i] + b[i];
  return sum;
}

Row rms_norm(const Row& x, const std::vector<float>& weight, double eps) {
  double squares = 0;
  for (double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / double(x.size()) + eps);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * double(weight[i]);
  return y;
}

Row multiply(const HostMatrix& w, const Row& x) {
  Row y(size_t(w.rows), 0);
  for (int r = 0; r < w.rows; ++r) {
    const float* const row = w.row(r);
    for (int c = 0; c < w.cols; ++c) y[size_t(r)] += double(row[c]) * x[size_t(c)];
  }
  return y;
}

static double silu(double x) { return x / (1 + std::exp(-x)); }

// Element j turns with element j + h/2.
static void rope(Row& head, int position, double base) {
  const size_t half = head.size() / 2;
  for (size_t j = 0; j < half; ++j) {
    const double angle = position * std::pow(base, -2.0 * double(j) / double(head.size()));
    const double a = head[j];
    const double b = head[j + half];
    head[j] = a * std::cos(angle) - b * std::sin(angle);
    head[j + half] = b * std::cos(angle) + a * std::sin(angle);
  }
}

Row embed(const RandomModel& model, int token) {
  const float* const row = model.token_embeddings.row(token);
  return Row(row, row + model.config.model_dim);
}

Row norm_qkv(const RandomModel& model, int layer, const Row& x, HostCache& cache) {
  const Config& config = model.config;
  const HostLayer& weights = model.layers[size_t(layer)];
  const int h = config.head_dim;
  const int query_heads = config.num_query_heads[size_t(layer)];
  const int kv_heads = config.num_kv_heads[size_t(layer)];
  const int position = int(cache.k.size());
  const Row qkv =
      multiply(weights.qkv_proj, rms_norm(x, weights.attn_norm, double(config.rms_norm_eps)));
  Row q, k, v;
  for (int i = 0; i < query_heads + 2 * kv_heads; ++i) {
    Row head(qkv.begin() + i * h, qkv.begin() + (i + 1) * h);
    const bool is_q = i < query_heads;
    const bool is_v = i >= query_heads + kv_heads;
    const std::vector<float>& norm = is_q ? weights.q_norm : weights.k_norm;
    if (!is_v && !norm.empty()) head = rms_norm(head, norm, double(config.rms_norm_eps));
    if (!is_v) rope(head, position, double(config.rope_freq_constant));
    Row& to = is_q ? q : is_v ? v : k;
    to.insert(to.end(), head.begin(), head.end());
  }
  cache.k.push_back(k);
  cache.v.push_back(v);
  return q;
}

Row attention(const RandomModel& model, int layer, const Row& q, const HostCache& cache,
              int position) {
  const Config& config = model.config;
  const size_t h = size_t(config.head_dim);
  const int query_heads = config.num_query_heads[size_t(layer)];
  const int group = query_heads / config.num_kv_heads[size_t(layer)];
  Row a(q.size(), 0);
  for (int head = 0; head < query_heads; ++head) {
    const size_t q_at = size_t(head) * h;
    const size_t kv_at = size_t(head / group) * h;
    Row weights;
    for (int p = 0; p <= position; ++p) {
      double score = 0;
      for (size_t i = 0; i < h; ++i) score += q[q_at + i] * cache.k[size_t(p)][kv_at + i];
      weights.push_back(score / std::sqrt(double(h)));
    }
    const double largest = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    for (int p = 0; p <= position; ++p) {
      for (size_t i = 0; i < h; ++i) {
        a[q_at + i] += weights[size_t(p)] / sum * cache.v[size_t(p)][kv_at + i];
      }
    }
  }
  return a;
}

Row norm_swiglu(const RandomModel& model, int layer, const Row& x) {
  const HostLayer& weights = model.layers[size_t(layer)];
  const Row y =
      multiply(weights.proj_1, rms_norm(x, weights.ffn_norm, double(model.config.rms_norm_eps)));
  const size_t f = size_t(model.config.ffn_dims[size_t(layer)]);
  Row g(f);
  for (size_t i = 0; i < f; ++i) g[i] = silu(y[i]) * (model.config.ffn_with_glu ? y[f + i] : 1);
  return g;
}

Row norm_logits(const RandomModel& model, const Row& x) {
  return multiply(model.lm_head, rms_norm(x, model.norm, double(model.config.rms_norm_eps)));
}

Row forward(const RandomModel& model, int token, std::vector<HostCache>& caches) {
  Row x = embed(model, token);
  for (int layer = 0; layer < model.config.num_layers; ++layer) {
    HostCache& cache = caches[size_t(layer)];
    const HostLayer& weights = model.layers[size_t(layer)];
    const Row q = norm_qkv(model, layer, x, cache);
    const Row a = attention(model, layer, q, cache, int(cache.k.size()) - 1);
    x = add(x, multiply(weights.out_proj, a));
    x = add(x, multiply(weights.proj_2, norm_swiglu(model, layer, x)));
  }
  return norm_logits(model, x);
}

}  // namespace openelm::test
