#pragma once

#include <memory>

#include "../../native/backend.h"

namespace openelm {

// How far, relative to the largest value of a row, an op may be from the oracle.
struct Tolerances {
  double decode = 1e-5;   // batches of one token
  double prefill = 1e-5;  // larger ones
  double attention = 1e-5;
};

// Some tokens of one session after `length` others.
struct Append {
  int length;
  int count;
};

// Runs every op of the backend, on random weights of that shape and dtype, for each of these
// batches. Throws std::runtime_error, which names the op.
void check_ops(const std::shared_ptr<Backend>& backend, const Config& config, DType dtype,
               const std::vector<std::vector<Append>>& batches, const Tolerances& tolerances);

// Shapes that fit no tile, no vector and no warp, small enough to try everything on: heads of any
// width, several query heads to a KV head, layers that differ.
std::vector<Config> uneven_shapes();

// One token first and later in a session, a chunk, and several sessions at once.
std::vector<std::vector<Append>> usual_batches();

}  // namespace openelm
