#include "lora.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "row_blocks.h"

namespace openelm::train {

template <typename T>
static void multiply_all(Workers<T>& workers, T factor, int rows, int cols, T* x) {
  for_rows(workers, rows, [&](int t) {
    for (int j = 0; j < cols; ++j) x[size_t(t) * cols + j] *= factor;
  });
}

// to = from * factors, column by column.
template <typename T>
static void multiply_columns(Workers<T>& workers, const T* factors, const T* from, int rows,
                             int cols, T* to) {
  for_rows(workers, rows, [&](int t) {
    for (int j = 0; j < cols; ++j)
      to[size_t(t) * cols + j] = factors[j] * from[size_t(t) * cols + j];
  });
}

// x after dropout, in memory of its own only if there is any.
template <typename T>
static const T* dropped(Workers<T>& workers, const LinearTensors<T>& layer, const T* x, int rows,
                        const Dropout& dropout, T* to) {
  if (dropout.none()) return x;
  drop(workers, dropout, layer.lora->index, x, rows, layer.in, to);
  return to;
}

template <typename T>
void adapted_linear(Workers<T>& workers, const LinearTensors<T>& layer, const T* x, int rows,
                    const Dropout& dropout, const LoraScratch<T>& scratch, T* y) {
  const auto [in, out, weight, dweight, lora] = layer;
  if (!lora) return linear(workers, x, weight, rows, in, out, y);
  const T* x1 = dropped(workers, layer, x, rows, dropout, scratch.x);
  if (dropout.none()) {
    linear_both<T>(workers, x, rows, in, {weight, out, y}, {lora->a, lora->rank, lora->u});
  } else {
    linear(workers, x, weight, rows, in, out, y);
    linear(workers, x1, lora->a, rows, in, lora->rank, lora->u);
  }
  multiply_all(workers, lora->scale, rows, lora->rank, lora->u);
  linear_add(workers, lora->u, lora->b, rows, lora->rank, out, y);
  if (!lora->g) return;
  if (dropout.none()) {
    std::memcpy(lora->v, y, size_t(rows) * out * sizeof(T));
  } else {
    linear(workers, x1, weight, rows, in, out, lora->v);
    linear_add(workers, lora->u, lora->b, rows, lora->rank, out, lora->v);
  }
  for_rows(workers, rows, [&, out = out, lora = lora](int t) {
    const size_t at = size_t(t) * out;
    for (int o = 0; o < out; ++o) y[at + o] += (lora->g[o] - 1) * lora->v[at + o];
  });
}

// dm = (sum over rows of dy * v) / n
template <typename T>
static void magnitudes_backward(Workers<T>& workers, const LoraTensors<T>& lora, const T* dy,
                                const RowBlocks& rows, int out) {
  sum_over_rows(
      workers, rows, out,
      [&](int t, T* partial) {
        const size_t at = size_t(t) * out;
        for (int o = 0; o < out; ++o) partial[o] += dy[at + o] * lora.v[at + o];
      },
      [&](const T* partial) {
        for (int o = 0; o < out; ++o) lora.dm[o] += partial[o] / lora.n[o];
      });
}

// With dv = g * dy, or dy with LoRA:
//   dB = dv^T * u, du = s * dv * B, dA = du^T * x',
//   dx = dv * W + du * A                                   without dropout
//   dx = dy * W + drop((dv - dy) * W + du * A)             with it
template <typename T>
void adapted_linear_backward(Workers<T>& workers, const LinearTensors<T>& layer, const T* x,
                             const T* dy, const RowBlocks& blocks, const Dropout& dropout,
                             const LoraScratch<T>& scratch, T* dx) {
  const auto [in, out, weight, dweight, lora] = layer;
  const int rows = blocks.rows();
  if (dweight) linear_dweight(workers, x, dy, blocks, in, out, dweight);
  if (!lora) {
    if (dx) linear_dx(workers, weight, dy, rows, in, out, dx);
    return;
  }
  const T* dv = dy;
  if (lora->g) {
    magnitudes_backward(workers, *lora, dy, blocks, out);
    multiply_columns(workers, lora->g, dy, rows, out, scratch.dv);
    dv = scratch.dv;
  }
  linear_dweight(workers, lora->u, dv, blocks, lora->rank, out, lora->db);
  if (dx && dropout.none()) {
    linear_dx_both<T>(workers, dv, rows, out, {weight, in, dx}, {lora->b, lora->rank, scratch.du});
  } else {
    linear_dx(workers, lora->b, dv, rows, lora->rank, out, scratch.du);
  }
  multiply_all(workers, lora->scale, rows, lora->rank, scratch.du);
  const T* x1 = dropped(workers, layer, x, rows, dropout, scratch.x);
  linear_dweight(workers, x1, scratch.du, blocks, in, lora->rank, lora->da);
  if (!dx) return;
  if (dropout.none()) {
    return linear_dx_add(workers, lora->a, scratch.du, rows, in, lora->rank, dx);
  }
  linear_dx(workers, weight, dy, rows, in, out, dx);
  linear_dx(workers, lora->a, scratch.du, rows, in, lora->rank, scratch.dx);
  if (lora->g) {
    for_rows(workers, rows, [&, out = out](int t) {
      const size_t at = size_t(t) * out;
      for (int o = 0; o < out; ++o) scratch.dv[at + o] -= dy[at + o];
    });
    linear_dx_add(workers, weight, scratch.dv, rows, in, out, scratch.dx);
  }
  drop_add(workers, dropout, lora->index, scratch.dx, rows, in, dx);
}

template <typename T>
void lora_embed_add(Workers<T>& workers, const LoraTensors<T>& lora, const int32_t* tokens,
                    int rows, int cols, T* x) {
  embed(workers, tokens, lora.b, rows, lora.rank, lora.u);
  multiply_all(workers, lora.scale, rows, lora.rank, lora.u);
  linear_dx_add(workers, lora.a, lora.u, rows, cols, lora.rank, x);
}

template <typename T>
void lora_embed_backward(Workers<T>& workers, const LoraTensors<T>& lora, const int32_t* tokens,
                         const T* dx, const RowBlocks& blocks, int cols,
                         const LoraScratch<T>& scratch) {
  const int rows = blocks.rows();
  linear_dweight(workers, dx, lora.u, blocks, cols, lora.rank, lora.da);
  linear(workers, dx, lora.a, rows, cols, lora.rank, scratch.du);
  multiply_all(workers, lora.scale, rows, lora.rank, scratch.du);
  embed_backward(workers, tokens, scratch.du, rows, lora.rank, lora.db);
}

template <typename T>
static double exact_dot(const T* x, const T* y, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double(x[i]) * double(y[i]);
  return sum;
}

// body(o, row, scratch) for every row of W.
template <typename T, typename Body>
static void for_weight_rows(Workers<T>& workers, const LinearTensors<T>& layer, const Body& body) {
  for (Scratch<T>& scratch : workers.scratch) scratch.row.resize(layer.in);
  workers.pool.run(layer.out, [&](int o, int thread) {
    Scratch<T>& scratch = workers.scratch[thread];
    layer.weight.decode_row(o, layer.in, scratch.row.data());
    body(o, scratch.row.data(), scratch);
  });
}

template <typename T>
void squared_norms(Workers<T>& workers, const LinearTensors<T>& layer, double* norms) {
  for_weight_rows(workers, layer, [&](int o, const T* row, Scratch<T>&) {
    norms[o] = exact_dot(row, row, layer.in);
  });
}

// |W + s * B * A|^2 = |W|^2 + 2 * s * B * (A * W^T) + s^2 * B * (A * A^T) * B^T, row by row.
template <typename T>
void dora_norms(Workers<T>& workers, const LinearTensors<T>& layer, const double* squared_norms,
                T* n) {
  const auto& [in, out, weight, dweight, lora] = layer;
  const int rank = lora->rank;
  const T* a = lora->a;
  std::vector<double> gram(size_t(rank) * rank);
  for (int i = 0; i < rank; ++i) {
    for (int j = 0; j < rank; ++j) {
      gram[i * rank + j] = exact_dot(a + size_t(i) * in, a + size_t(j) * in, in);
    }
  }
  // Column by column, so that the products of a row of W with all of A's are vectors' sums.
  std::vector<double> columns(size_t(in) * rank);
  for (int i = 0; i < rank; ++i) {
    for (int j = 0; j < in; ++j) columns[size_t(j) * rank + i] = double(a[size_t(i) * in + j]);
  }
  for (Scratch<T>& scratch : workers.scratch) scratch.sums.resize(rank);
  const double s = double(lora->scale);
  for_weight_rows(workers, layer, [&](int o, const T* row, Scratch<T>& scratch) {
    double* products = scratch.sums.data();
    std::fill_n(products, rank, 0.0);
    for (int j = 0; j < layer.in; ++j) {
      const double* column = columns.data() + size_t(j) * rank;
      for (int i = 0; i < rank; ++i) products[i] += column[i] * double(row[j]);
    }
    const T* b = layer.lora->b + size_t(o) * rank;
    double sum = squared_norms[o];
    for (int i = 0; i < rank; ++i) {
      if (b[i] == 0) continue;
      double along = 2 * s * products[i];
      for (int j = 0; j < rank; ++j) along += s * s * gram[i * rank + j] * double(b[j]);
      sum += double(b[i]) * along;
    }
    n[o] = T(std::sqrt(sum));
  });
}

#define INSTANTIATE(T)                                                                            \
  template void adapted_linear(Workers<T>&, const LinearTensors<T>&, const T*, int,               \
                               const Dropout&, const LoraScratch<T>&, T*);                        \
  template void adapted_linear_backward(Workers<T>&, const LinearTensors<T>&, const T*, const T*, \
                                        const RowBlocks&, const Dropout&, const LoraScratch<T>&,  \
                                        T*);                                                      \
  template void lora_embed_add(Workers<T>&, const LoraTensors<T>&, const int32_t*, int, int, T*); \
  template void lora_embed_backward(Workers<T>&, const LoraTensors<T>&, const int32_t*, const T*, \
                                    const RowBlocks&, int, const LoraScratch<T>&);                \
  template void squared_norms(Workers<T>&, const LinearTensors<T>&, double*);                     \
  template void dora_norms(Workers<T>&, const LinearTensors<T>&, const double*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace openelm::train
