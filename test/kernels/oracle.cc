#include "oracle.h"

#include <cmath>

namespace openelm {

const Doubles& Oracle::weight(const std::string& name) const {
  return tensors.at("transformer." + name + ".weight").values;
}

const Doubles& Oracle::weight(int layer, const std::string& name) const {
  return weight("layers." + std::to_string(layer) + "." + name);
}

Doubles Oracle::rms_norm(const Doubles& x, const Doubles& weight) const {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / double(x.size()) + config.rms_norm_eps);
  Doubles y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
  return y;
}

static Doubles product(const Doubles& w, const Doubles& x) {
  Doubles y(w.size() / x.size());
  for (size_t row = 0; row < y.size(); ++row) {
    for (size_t i = 0; i < x.size(); ++i) y[row] += w[row * x.size() + i] * x[i];
  }
  return y;
}

static Doubles sum(const Doubles& a, const Doubles& b) {
  Doubles y(a);
  for (size_t i = 0; i < y.size(); ++i) y[i] += b[i];
  return y;
}

static double silu(double x) { return x / (1 + std::exp(-x)); }

Doubles Oracle::embed(int token) const {
  const double* row = &weight("token_embeddings")[size_t(token) * config.model_dim];
  return Doubles(row, row + config.model_dim);
}

// Norm, then RoPE: element j turns with element j + h/2.
Doubles Oracle::head(const Doubles& x, const std::string& norm, int layer, int position) const {
  const int half = config.head_dim / 2;
  const Doubles y = config.normalize_qk_projections ? rms_norm(x, weight(layer, norm)) : x;
  Doubles turned(y.size());
  for (int j = 0; j < half; ++j) {
    const double frequency =
        std::pow(double(config.rope_freq_constant), -2.0 * j / config.head_dim);
    const double cos = std::cos(position * frequency);
    const double sin = std::sin(position * frequency);
    turned[j] = y[j] * cos - y[j + half] * sin;
    turned[j + half] = y[j + half] * cos + y[j] * sin;
  }
  return turned;
}

Doubles Oracle::norm_qkv(int layer, const Doubles& x, int position) const {
  Doubles qkv = product(weight(layer, "attn.qkv_proj"), rms_norm(x, weight(layer, "attn_norm")));
  const int num_query_heads = config.num_query_heads[layer];
  for (int n = 0; n < num_query_heads + config.num_kv_heads[layer]; ++n) {
    const auto begin = qkv.begin() + n * config.head_dim;
    const Doubles turned =
        head(Doubles(begin, begin + config.head_dim),
             n < num_query_heads ? "attn.q_norm" : "attn.k_norm", layer, position);
    std::copy(turned.begin(), turned.end(), begin);
  }
  return qkv;
}

Doubles Oracle::attention(int layer, const std::vector<Doubles>& session) const {
  const int h = config.head_dim;
  const int group = config.num_query_heads[layer] / config.num_kv_heads[layer];
  const Doubles& q = session.back();
  Doubles a(config.q_dim(layer));
  for (int n = 0; n < config.num_query_heads[layer]; ++n) {
    const int k_at = config.q_dim(layer) + n / group * h;
    const int v_at = k_at + config.kv_dim(layer);
    Doubles scores;
    for (const Doubles& qkv : session) {
      double score = 0;
      for (int j = 0; j < h; ++j) score += q[n * h + j] * qkv[k_at + j];
      scores.push_back(std::exp(score / std::sqrt(double(h))));
    }
    double total = 0;
    for (const double score : scores) total += score;
    for (size_t p = 0; p < session.size(); ++p) {
      for (int j = 0; j < h; ++j) a[n * h + j] += scores[p] / total * session[p][v_at + j];
    }
  }
  return a;
}

Doubles Oracle::out_proj_add(int layer, const Doubles& a, const Doubles& x) const {
  return sum(x, product(weight(layer, "attn.out_proj"), a));
}

Doubles Oracle::norm_swiglu(int layer, const Doubles& x) const {
  const Doubles both = product(weight(layer, "ffn.proj_1"), rms_norm(x, weight(layer, "ffn_norm")));
  const size_t f = config.ffn_dims[layer];
  Doubles g(f);
  for (size_t i = 0; i < f; ++i) g[i] = silu(both[i]) * (config.ffn_with_glu ? both[f + i] : 1);
  return g;
}

Doubles Oracle::ffn_down_add(int layer, const Doubles& g, const Doubles& x) const {
  return sum(x, product(weight(layer, "ffn.proj_2"), g));
}

Doubles Oracle::norm_logits(const Doubles& x) const {
  return product(weight(config.share_input_output_layers ? "token_embeddings" : "lm_head"),
                 rms_norm(x, weight("norm")));
}

}  // namespace openelm
