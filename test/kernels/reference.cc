#include "reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "model/load.h"
#include "tensors.h"

namespace openelm {

// A float whose leading bit is implied unless the exponent is zero.
static double float_value(uint16_t bits, int mantissa_bits, int max_exponent) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 2 * max_exponent + 1) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - max_exponent - mantissa_bits);
  return sign *
         std::ldexp((1 << mantissa_bits) + mantissa, exponent - max_exponent - mantissa_bits);
}

// Rounds to nearest, ties to even, to multiples of the last mantissa bit.
static double round_float(double x, int mantissa_bits, int max_exponent) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), 1 - max_exponent);
  const double unit = std::ldexp(1.0, exponent - mantissa_bits);
  const double rounded = std::nearbyint(x / unit) * unit;
  const double limit = std::ldexp(1.0, max_exponent + 1);
  return std::fabs(rounded) < limit ? rounded : std::copysign(INFINITY, x);
}

double f16_value(uint16_t bits) { return float_value(bits, 10, 15); }
double bf16_value(uint16_t bits) { return float_value(bits, 7, 127); }
double round_to_f16(double x) { return round_float(x, 10, 15); }
double round_to_bf16(double x) { return round_float(x, 7, 127); }

int q4_code(const uint8_t* group, int i) {
  return (i < 16 ? group[i] % 16 : group[i - 16] / 16) - 8;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

Row rms_norm(const Row& x, const Row& weight, double eps) {
  double sum = 0;
  for (double value : x) sum += value * value;
  const double scale = 1 / std::sqrt(sum / double(x.size()) + eps);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
  return y;
}

Row rope(const Row& head, int position, double rope_freq_constant) {
  const size_t half = head.size() / 2;
  Row y(head.size());
  for (size_t j = 0; j < half; ++j) {
    const double angle = position * std::pow(rope_freq_constant, -double(j) / double(half));
    y[j] = head[j] * std::cos(angle) - head[j + half] * std::sin(angle);
    y[j + half] = head[j + half] * std::cos(angle) + head[j] * std::sin(angle);
  }
  return y;
}

template <typename T>
static double dot(const std::vector<T>& a, const Row& b) {
  constexpr size_t kSums = 8;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= a.size(); i += kSums) {
    for (size_t j = 0; j < kSums; ++j) sums[j] += double(a[i + j]) * b[i + j];
  }
  for (; i < a.size(); ++i) sums[0] += double(a[i]) * b[i];
  return std::accumulate(sums, sums + kSums, 0.0);
}

Row attention(const Row& q, const Rows& keys, const Rows& values) {
  Row weights;
  for (const Row& key : keys) weights.push_back(dot(q, key));
  const double largest = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  Row a(q.size());
  for (size_t p = 0; p < values.size(); ++p) {
    for (size_t j = 0; j < a.size(); ++j) a[j] += weights[p] / total * values[p][j];
  }
  return a;
}

Row ReferenceMatrix::multiply(const Row& x) const {
  Row y;
  for (const std::vector<float>& row : values) y.push_back(dot(row, x));
  return y;
}

static const TensorSource& find(const std::vector<TensorSource>& tensors, const std::string& name) {
  for (const TensorSource& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::out_of_range(name);
}

// `count` rows of a tensor from `begin` on, or `kept` of them.
static ReferenceMatrix load_rows(const TensorSource& source, DType dtype, int begin, int count,
                                 int kept) {
  ReferenceMatrix matrix;
  for (int i = 0; i < kept; ++i) {
    const int row = kept == 1 ? 0 : int(int64_t(i) * (count - 1) / (kept - 1));
    const Row values = loaded_row(source, dtype, begin + row);
    matrix.rows.push_back(row);
    matrix.values.emplace_back(values.begin(), values.end());
  }
  return matrix;
}

Reference::Reference(const Config& config, const std::vector<TensorSource>& tensors, DType dtype,
                     bool float16_cache, int max_rows)
    : config(config), float16_cache(float16_cache) {
  const auto vector = [&](const std::string& name) {
    return loaded_row(find(tensors, name), DType::kFloat32, 0);
  };
  const auto matrix = [&](const std::string& name, DType dtype, int begin, int count) {
    return load_rows(find(tensors, name), dtype, begin, count, std::min(count, max_rows));
  };
  const DType embedding_dtype = dtype == DType::kQ4 ? DType::kQ8 : dtype;
  token_embeddings = matrix(kEmbeddingsName, embedding_dtype, 0, config.vocab_size);
  lm_head = config.share_input_output_layers
                ? token_embeddings
                : matrix(kHeadName, embedding_dtype, 0, config.vocab_size);
  norm = vector("transformer.norm.weight");
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = layer_prefix(i);
    const int f = config.ffn_dims[i];
    const int qkv_dim = config.qkv_dim(i);
    ReferenceLayer layer;
    layer.attn_norm = vector(prefix + "attn_norm.weight");
    layer.ffn_norm = vector(prefix + "ffn_norm.weight");
    if (config.normalize_qk_projections) {
      layer.q_norm = vector(prefix + "attn.q_norm.weight");
      layer.k_norm = vector(prefix + "attn.k_norm.weight");
    }
    layer.qkv_proj =
        load_rows(find(tensors, prefix + "attn.qkv_proj.weight"), dtype, 0, qkv_dim, qkv_dim);
    layer.out_proj = matrix(prefix + "attn.out_proj.weight", dtype, 0, config.model_dim);
    const std::string proj_1 = prefix + "ffn.proj_1.weight";
    if (config.ffn_with_glu) layer.gate = matrix(proj_1, dtype, 0, f);
    layer.up = matrix(proj_1, dtype, config.ffn_with_glu ? f : 0, f);
    layer.proj_2 = matrix(prefix + "ffn.proj_2.weight", dtype, 0, config.model_dim);
    layers.push_back(std::move(layer));
  }
}

void ReferenceSession::rewind(int position) {
  for (Rows& rows : keys) rows.resize(position);
  for (Rows& rows : values) rows.resize(position);
}

ReferenceSession Reference::new_session() const {
  return {std::vector<Rows>(config.num_layers), std::vector<Rows>(config.num_layers)};
}

Row Reference::embed(int token) const {
  const auto& ids = token_embeddings.rows;
  const auto row = std::lower_bound(ids.begin(), ids.end(), token) - ids.begin();
  const std::vector<float>& values = token_embeddings.values.at(row);
  return {values.begin(), values.end()};
}

static Row head_of(const Row& row, int head, int h) {
  return {row.begin() + head * h, row.begin() + (head + 1) * h};
}

static void append(Row& to, const Row& row) { to.insert(to.end(), row.begin(), row.end()); }

Row Reference::norm_qkv(int layer, const Row& x, ReferenceSession& session) const {
  const ReferenceLayer& weights = layers[layer];
  const int first_key = config.num_query_heads[layer];
  const int first_value = first_key + config.num_kv_heads[layer];
  const int position = int(session.keys[layer].size());
  const auto cached = [&](double value) {
    return float16_cache ? round_to_f16(std::clamp(value, -65504.0, 65504.0)) : value;
  };
  const Row qkv = weights.qkv_proj.multiply(rms_norm(x, weights.attn_norm, config.rms_norm_eps));
  Row q, k, v;
  for (int head = 0; head < first_value + config.num_kv_heads[layer]; ++head) {
    Row row = head_of(qkv, head, config.head_dim);
    const bool is_query = head < first_key;
    if (head < first_value) {
      if (config.normalize_qk_projections) {
        row = rms_norm(row, is_query ? weights.q_norm : weights.k_norm, config.rms_norm_eps);
      }
      row = rope(row, position, config.rope_freq_constant);
    }
    if (!is_query) std::transform(row.begin(), row.end(), row.begin(), cached);
    append(is_query ? q : head < first_value ? k : v, row);
  }
  session.keys[layer].push_back(std::move(k));
  session.values[layer].push_back(std::move(v));
  return q;
}

Row Reference::attention(int layer, const Row& q, const ReferenceSession& session,
                         int position) const {
  const int h = config.head_dim;
  const int group = config.num_query_heads[layer] / config.num_kv_heads[layer];
  Row a;
  for (int head = 0; head < config.num_query_heads[layer]; ++head) {
    Row query = head_of(q, head, h);
    for (double& value : query) value /= std::sqrt(double(h));
    Rows keys, values;
    for (int p = 0; p <= position; ++p) {
      keys.push_back(head_of(session.keys[layer][p], head / group, h));
      values.push_back(head_of(session.values[layer][p], head / group, h));
    }
    append(a, openelm::attention(query, keys, values));
  }
  return a;
}

static Row multiply_add(const ReferenceMatrix& matrix, const Row& in, const Row& x) {
  Row sum = matrix.multiply(in);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += x[matrix.rows[i]];
  return sum;
}

Row Reference::out_proj_add(int layer, const Row& a, const Row& x) const {
  return multiply_add(layers[layer].out_proj, a, x);
}

Row Reference::norm_swiglu(int layer, const Row& x) const {
  const ReferenceLayer& weights = layers[layer];
  const Row normed = rms_norm(x, weights.ffn_norm, config.rms_norm_eps);
  Row g = weights.up.multiply(normed);
  const Row gate = weights.gate.multiply(normed);
  for (size_t i = 0; i < g.size(); ++i) {
    g[i] = config.ffn_with_glu ? silu(gate[i]) * g[i] : silu(g[i]);
  }
  return g;
}

Row Reference::ffn_down_add(int layer, const Row& g, const Row& x) const {
  return multiply_add(layers[layer].proj_2, g, x);
}

Row Reference::norm_logits(const Row& x) const {
  return lm_head.multiply(rms_norm(x, norm, config.rms_norm_eps));
}

Row Reference::forward(int token, ReferenceSession& session) const {
  Row x = embed(token);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const Row q = norm_qkv(layer, x, session);
    const int position = int(session.keys[layer].size()) - 1;
    x = out_proj_add(layer, attention(layer, q, session, position), x);
    x = ffn_down_add(layer, norm_swiglu(layer, x), x);
  }
  return norm_logits(x);
}

double relative_error(const Row& got, const Row& want) {
  double squares = 0;
  double errors = 0;
  double largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::fabs(got[i] - want[i]);
    if (std::isnan(error)) return NAN;
    squares += want[i] * want[i];
    errors += error * error;
    largest = std::max(largest, error);
  }
  const double n = double(want.size());
  return std::max(std::sqrt(errors / n), largest / 8) / std::sqrt(squares / n);
}

}  // namespace openelm
