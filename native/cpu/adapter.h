#pragma once

#include <span>
#include <vector>

#include "../model/adapter.h"
#include "../simd/kernels.h"
#include "workers.h"

namespace openelm::cpu {

// Consecutive rows of a product, by a matrix that an adapter changes.
struct AdaptedRows {
  int first;
  int count;
  const AdaptedMatrix* matrix;
};

// What adapters add to a product with a matrix W: to its rows y = x W^T, when they are there,
// scale * (x A^T) B^T for one addition after the other; then come the gains. Both products are
// summed as kernels.h has it for float32, so that the bits of a row depend on nothing but the row
// and its adapter.
class AdapterProducts {
 public:
  AdapterProducts(const Kernels& kernels, Workers& workers)
      : kernels_(kernels), workers_(workers), y_(workers.pool.threads()) {}

  // Begins a product with rows of x [., cols], of which these are adapted: scale * x A^T.
  void prepare(std::span<const AdaptedRows> rows, const float* x, int cols);

  // Memory for tasks of so many panels, which must not throw.
  void reserve(int task_panels);

  // Asks for what apply() will read of memory, before the product with W is computed.
  void prefetch(int first_panel, int panels) const;

  // Adapts the product of all rows with some panels of W, y [., panels * 16]. On any thread.
  void apply(int first_panel, int panels, float* y, int thread);

 private:
  // One addition to some rows. Offsets into the scratch, in elements.
  struct Term {
    AdaptedRows rows;
    const LowRank* addition;
    size_t partials;  // [blocks, panels of A, count, 16]: x A^T, each over a block of columns
    size_t u;         // scale * x A^T [count, r], packed as the kernels want it
  };

  void multiply(const AdaptedRows& rows, int block, const float* x, int cols);
  void finish(const Term& term, int blocks);

  const Kernels& kernels_;
  Workers& workers_;
  std::vector<Term> terms_;
  Scratch<float> packed_;  // x of the rows that are several together
  Scratch<float> partials_;
  Scratch<float> u_rows_;  // [count, r], of one term
  Scratch<float> u_;
  std::vector<Scratch<float>> y_;  // u B^T: one per thread
};

// Adds what an adapter makes of a token's embedding to x [d].
void add_embedding(const AdaptedMatrix& embeddings, int token, float* x);

}  // namespace openelm::cpu
