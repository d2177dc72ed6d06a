#pragma once

#include <vector>

#include "random_model.h"

// The ops in float64, written from their definitions and from nothing else.
namespace openelm::test {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

// The keys (after RoPE) and the values of a session in one layer, by position: [Hkv h] each.
struct HostCache {
  Rows k, v;
};

Row to_row(const std::vector<float>& values, size_t first, size_t count);
Row add(const Row& a, const Row& b);

Row rms_norm(const Row& x, const std::vector<float>& weight, double eps);
Row multiply(const HostMatrix& w, const Row& x);

Row embed(const RandomModel& model, int token);
// Appends the key and the value of position cache.k.size(), and returns q [Hq h].
Row norm_qkv(const RandomModel& model, int layer, const Row& x, HostCache& cache);
// Over the positions 0 .. position.
Row attention(const RandomModel& model, int layer, const Row& q, const HostCache& cache,
              int position);
Row norm_swiglu(const RandomModel& model, int layer, const Row& x);
Row norm_logits(const RandomModel& model, const Row& x);

// The whole model for the next token of a session.
Row forward(const RandomModel& model, int token, std::vector<HostCache>& caches);

}  // namespace openelm::test
