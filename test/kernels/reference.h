#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/tensor_source.h"

namespace openelm {

// The formulas of backend.h in float64, in plain loops, sharing nothing with the kernels.

using Row = std::vector<double>;

double f16_value(uint16_t bits);
double bf16_value(uint16_t bits);
double round_to_f16(double x);
double round_to_bf16(double x);

// The integer of column i of a q4 group of 16 bytes.
int q4_code(const uint8_t* group, int i);

double silu(double x);
Row rms_norm(const Row& x, const Row& weight, double eps);
Row rope(const Row& head, int position, double rope_freq_constant);

// One head; q is already scaled. keys and values: a row of h a position.
Row attention(const Row& q, const std::vector<Row>& keys, const std::vector<Row>& values);

// Some rows of a matrix, as the ops must see it.
struct ReferenceMatrix {
  std::vector<int> rows;
  std::vector<Row> values;

  // A value for each of `rows`.
  Row multiply(const Row& x) const;
};

struct ReferenceLayer {
  Row attn_norm, q_norm, k_norm, ffn_norm;
  ReferenceMatrix qkv_proj, out_proj, gate, up, proj_2;  // without GLU there is no gate
};

struct ReferenceModel {
  Config config;
  ReferenceMatrix token_embeddings;
  std::vector<ReferenceLayer> layers;
  Row norm;
  ReferenceMatrix lm_head;

  // Holds at most about max_rows rows, spread evenly, of every matrix but qkv_proj.
  ReferenceModel(const Config& config, const std::vector<TensorSource>& tensors, DType dtype,
                 int max_rows);
};

// The error of `got`, relative to the root mean square of `want`: the root mean square error, or an
// eighth of the largest one, whichever is more, so that a single wrong element counts too.
double relative_error(const Row& got, const Row& want);

}  // namespace openelm
