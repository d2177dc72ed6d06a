#include "reference.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

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

static double dot(const Row& a, const Row& b) {
  double sums[4] = {};
  for (size_t i = 0; i < a.size(); ++i) sums[i % 4] += a[i] * b[i];
  return sums[0] + sums[1] + sums[2] + sums[3];
}

Row attention(const Row& q, const std::vector<Row>& keys, const std::vector<Row>& values) {
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
  for (const Row& row : values) y.push_back(dot(row, x));
  return y;
}

namespace {

struct Loader {
  const std::vector<TensorSource>& tensors;
  const DType dtype;
  const int max_rows;

  const TensorSource& find(const std::string& name) const {
    for (const TensorSource& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    throw std::out_of_range(name);
  }

  Row vector(const std::string& name) const { return loaded_row(find(name), DType::kFloat32, 0); }

  // Rows begin + i for some i in [0, count).
  ReferenceMatrix part(const std::string& name, int begin, int count, int max, DType dtype) const {
    const TensorSource& source = find(name);
    const int kept = std::min(count, max);
    ReferenceMatrix matrix;
    for (int i = 0; i < kept; ++i) {
      const int row = kept == 1 ? 0 : int(int64_t(i) * (count - 1) / (kept - 1));
      matrix.rows.push_back(row);
      matrix.values.push_back(loaded_row(source, dtype, begin + row));
    }
    return matrix;
  }

  ReferenceMatrix matrix(const std::string& name, int rows) const {
    return part(name, 0, rows, max_rows, dtype);
  }

  ReferenceMatrix embedding(const std::string& name, int rows) const {
    return part(name, 0, rows, max_rows, dtype == DType::kQ4 ? DType::kQ8 : dtype);
  }
};

}  // namespace

ReferenceModel::ReferenceModel(const Config& config, const std::vector<TensorSource>& tensors,
                               DType dtype, int max_rows)
    : config(config) {
  const Loader load{tensors, dtype, max_rows};
  token_embeddings = load.embedding("transformer.token_embeddings.weight", config.vocab_size);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = "transformer.layers." + std::to_string(i) + ".";
    const int f = config.ffn_dims[i];
    ReferenceLayer layer;
    layer.attn_norm = load.vector(prefix + "attn_norm.weight");
    layer.ffn_norm = load.vector(prefix + "ffn_norm.weight");
    if (config.normalize_qk_projections) {
      layer.q_norm = load.vector(prefix + "attn.q_norm.weight");
      layer.k_norm = load.vector(prefix + "attn.k_norm.weight");
    }
    const int qkv_dim = config.qkv_dim(i);
    layer.qkv_proj = load.part(prefix + "attn.qkv_proj.weight", 0, qkv_dim, qkv_dim, dtype);
    layer.out_proj = load.matrix(prefix + "attn.out_proj.weight", config.model_dim);
    const std::string proj_1 = prefix + "ffn.proj_1.weight";
    if (config.ffn_with_glu) layer.gate = load.matrix(proj_1, f);
    layer.up = load.part(proj_1, config.ffn_with_glu ? f : 0, f, max_rows, dtype);
    layer.proj_2 = load.matrix(prefix + "ffn.proj_2.weight", config.model_dim);
    layers.push_back(std::move(layer));
  }
  norm = load.vector("transformer.norm.weight");
  lm_head = config.share_input_output_layers ? token_embeddings
                                             : load.embedding("lm_head.weight", config.vocab_size);
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
