#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"
#include "model/tensor_source.h"

namespace openelm {

// The oracle: the ops of backend.h in float64, in plain loops, sharing nothing with the kernels.
// test/data/oracle-logits.txt holds it against the oracle of the tests in TypeScript.

using Row = std::vector<double>;
using Rows = std::vector<Row>;

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
Row attention(const Row& q, const Rows& keys, const Rows& values);

// Some rows of a matrix, as the ops must see it.
struct ReferenceMatrix {
  std::vector<int> rows;
  std::vector<std::vector<float>> values;  // exactly what was rounded or quantised

  // A value for each of `rows`.
  Row multiply(const Row& x) const;
};

struct ReferenceLayer {
  Row attn_norm, q_norm, k_norm, ffn_norm;
  ReferenceMatrix qkv_proj, out_proj, gate, up, proj_2;  // without GLU there is no gate
};

// What the caches of a session hold.
struct ReferenceSession {
  std::vector<Rows> keys;    // [layer][position]: [Hkv*h], after RoPE
  std::vector<Rows> values;  // [layer][position]: [Hkv*h]

  void rewind(int position);
};

// A model. Each op takes a token of a session and gives its row of the result, of which it knows
// the elements that the rows of the op's matrix make.
struct Reference {
  const Config config;
  const bool float16_cache;
  ReferenceMatrix token_embeddings;
  std::vector<ReferenceLayer> layers;
  Row norm;
  ReferenceMatrix lm_head;

  // Holds at most about max_rows rows, spread evenly, of every matrix but qkv_proj.
  Reference(const Config& config, const std::vector<TensorSource>& tensors, DType dtype,
            bool float16_cache, int max_rows);

  ReferenceSession new_session() const;

  Row embed(int token) const;
  // Appends the key and the value of the session's next position in this layer.
  Row norm_qkv(int layer, const Row& x, ReferenceSession& session) const;
  // Over the positions 0 .. position.
  Row attention(int layer, const Row& q, const ReferenceSession& session, int position) const;
  Row out_proj_add(int layer, const Row& a, const Row& x) const;
  Row norm_swiglu(int layer, const Row& x) const;
  Row ffn_down_add(int layer, const Row& g, const Row& x) const;
  Row norm_logits(const Row& x) const;

  // The whole model for the next token of a session; it must hold all rows.
  Row forward(int token, ReferenceSession& session) const;
};

// The error of `got`, relative to the root mean square of `want`: the root mean square error, or an
// eighth of the largest one, whichever is more, so that a single wrong element counts too.
double relative_error(const Row& got, const Row& want);

}  // namespace openelm
