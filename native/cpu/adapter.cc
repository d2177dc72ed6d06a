// Adapters: packed when they are loaded, found in a batch, added to products.

#include "adapter.h"

#include <algorithm>
#include <cmath>

#include "../simd/lanes.h"
#include "cpu_backend.h"
#include "pack.h"

namespace openelm::cpu {

static int num_blocks(int cols) { return (cols + kColumnBlock - 1) / kColumnBlock; }

// What gives the rows of W + scale * B * A, of which W is packed, the lengths that DoRA says: in
// the order of the panels. Sums are in float64, as where the lengths are measured for a new
// adapter, whose gains are then 1.
static std::vector<float> dora_gains(const Matrix& w, MatrixLayout layout,
                                     const AdapterTarget& target) {
  const int panels = packed_panels(w.rows, layout);
  std::vector<float> gains(size_t(panels) * kPanelRows);
  std::vector<double> values(w.cols);
  for (int panel = 0; panel < panels; ++panel) {
    const uint8_t* packed = w.data.as<uint8_t>() + panel * packed_panel_bytes(w.cols, w.dtype);
    const auto [first, count] = rows_of_panel(panel, w.rows, layout);
    for (int i = 0; i < count; ++i) {
      for (int c = 0; c < w.cols; ++c) values[c] = packed_element(packed, i, c, w.dtype);
      for (int k = 0; k < target.rank; ++k) {
        const double factor = double(target.scale) * target.b[size_t(first + i) * target.rank + k];
        const float* a = target.a.data() + size_t(k) * w.cols;
        for (int c = 0; c < w.cols; ++c) values[c] += factor * a[c];
      }
      double squares = 0;
      for (double value : values) squares += value * value;
      const auto length = float(std::sqrt(squares));
      gains[size_t(panel) * kPanelRows + i] =
          length == 0 ? 0 : target.magnitudes[first + i] / length;
    }
  }
  return gains;
}

AdaptedMatrix CpuBackend::adapt(const Matrix& matrix, MatrixLayout layout,
                                const AdapterTarget& target) {
  const auto pack = [&](std::span<const float> values, int rows, int cols, MatrixLayout layout) {
    const size_t panel_bytes = packed_panel_bytes(cols, DType::kFloat32);
    const Matrix packed{allocate(packed_panels(rows, layout) * panel_bytes), rows, cols,
                        DType::kFloat32};
    pack_float32(values.data(), packed, layout);
    return packed;
  };
  AdaptedMatrix adapted;
  adapted.additions.push_back({pack(target.a, target.rank, matrix.cols, MatrixLayout::kPlain),
                               pack(target.b, matrix.rows, target.rank, layout), target.scale});
  if (!target.magnitudes.empty()) adapted.gains = dora_gains(matrix, layout, target);
  return adapted;
}

void CpuBackend::find_adapters(const Batch& batch) {
  adapter_runs_.clear();
  for (int t = 0; t < int(batch.adapters.size()); ++t) {
    const Adapter* const adapter = batch.adapters[t];
    if (!adapter) continue;
    if (t > 0 && batch.adapters[t - 1] == adapter) {
      ++adapter_runs_.back().num_tokens;
    } else {
      adapter_runs_.push_back({t, 1, adapter});
    }
  }
}

std::span<const AdaptedRows> CpuBackend::adapted(const Layer& layer,
                                                 AdaptedMatrix AdaptedLayer::* matrix) {
  adapted_.clear();
  for (const AdapterRun& run : adapter_runs_) {
    const AdaptedMatrix& adapted = run.adapter->layers[layer.index].*matrix;
    if (adapted.additions.empty()) continue;
    adapted_.push_back({run.first_token, run.num_tokens, &adapted});
  }
  return adapted_;
}

std::span<const AdaptedRows> CpuBackend::adapted_head(const Batch& batch) {
  adapted_.clear();
  if (adapter_runs_.empty()) return adapted_;
  for (int row = 0; row < int(batch.logit_rows.size()); ++row) {
    const Adapter* const adapter = batch.adapters[batch.logit_rows[row]];
    if (!adapter || adapter->lm_head.additions.empty()) continue;
    adapted_.push_back({row, 1, &adapter->lm_head});
  }
  return adapted_;
}

void AdapterProducts::prepare(std::span<const AdaptedRows> rows, const float* x, int cols) {
  terms_.clear();
  const int blocks = num_blocks(cols);
  size_t partials = 0;
  size_t u = 0;
  size_t u_rows = 0;
  int end_row = 0;
  for (const AdaptedRows& some : rows) {
    for (const LowRank& addition : some.matrix->additions) {
      const int rank = addition.a.rows;
      terms_.push_back({some, &addition, partials, u});
      partials += size_t(blocks) * num_panels(rank) * some.count * kPanelRows;
      u += size_t(some.count) * rank;
      u_rows = std::max(u_rows, size_t(some.count) * rank);
    }
    end_row = std::max(end_row, some.first + some.count);
  }
  if (terms_.empty()) return;
  packed_.reserve(size_t(end_row) * cols);
  partials_.reserve(partials);
  u_.reserve(u);
  u_rows_.reserve(u_rows);
  workers_.run(int(rows.size()) * blocks,
               [&](int task, int) { multiply(rows[task / blocks], task % blocks, x, cols); });
  for (const Term& term : terms_) finish(term, blocks);
}

// The products of some rows with a block of columns of A, of each of their terms.
void AdapterProducts::multiply(const AdaptedRows& rows, int block, const float* x, int cols) {
  const int begin = block * kColumnBlock;
  const float* from = x + size_t(rows.first) * cols;
  Input input;
  input.cols = std::min(kColumnBlock, cols - begin);
  input.values = from + begin;
  if (rows.count > 1) {
    float* const packed = packed_.get() + size_t(rows.first) * cols;
    kernels_.pack_input(from, cols, rows.count, block, packed);
    input.values = packed + size_t(begin) * rows.count;
  }
  for (const Term& term : terms_) {
    if (term.rows.first != rows.first) continue;
    const Matrix& a = term.addition->a;
    const int panels = num_panels(a.rows);
    const size_t size = size_t(rows.count) * kPanelRows;
    float* to = partials_.get() + term.partials + size_t(block) * panels * size;
    const float* columns = a.data.as<float>() + size_t(begin) * kPanelRows;
    for (int panel = 0; panel < panels; ++panel, to += size) {
      kernels_.matmul[int(DType::kFloat32)](columns, 1, input, rows.count, to);
      columns += size_t(padded_columns(cols)) * kPanelRows;
    }
  }
}

// u of a term, of the sums over its blocks in order.
void AdapterProducts::finish(const Term& term, int blocks) {
  const int rank = term.addition->a.rows;
  const int count = term.rows.count;
  const size_t block_size = size_t(num_panels(rank)) * count * kPanelRows;
  float* const u = u_.get() + term.u;
  float* const rows = count == 1 ? u : u_rows_.get();
  for (int t = 0; t < count; ++t) {
    for (int k = 0; k < rank; ++k) {
      const float* partial = partials_.get() + term.partials +
                             size_t(k / kPanelRows * count + t) * kPanelRows + k % kPanelRows;
      float sum = 0;
      for (int block = 0; block < blocks; ++block) sum += partial[block * block_size];
      rows[size_t(t) * rank + k] = sum * term.addition->scale;
    }
  }
  if (count == 1) return;
  for (int block = 0; block < num_blocks(rank); ++block) {
    kernels_.pack_input(rows, rank, count, block, u);
  }
}

void AdapterProducts::reserve(int task_panels) {
  int most = 0;
  for (const Term& term : terms_) most = std::max(most, term.rows.count);
  for (auto& y : y_) y.reserve(size_t(most) * task_panels * kPanelRows);
}

void AdapterProducts::prefetch(int first_panel, int panels) const {
  for (const Term& term : terms_) {
    const size_t panel_bytes = packed_panel_bytes(term.addition->b.cols, DType::kFloat32);
    const char* from = term.addition->b.data.as<char>() + first_panel * panel_bytes;
    for (size_t i = 0; i < panels * panel_bytes; i += 64) ::prefetch(from + i);
  }
}

void AdapterProducts::apply(int first_panel, int panels, float* y, int thread) {
  const size_t stride = size_t(panels) * kPanelRows;
  for (const Term& term : terms_) {
    const int rank = term.addition->b.cols;
    const size_t panel_bytes = packed_panel_bytes(rank, DType::kFloat32);
    Input input;
    input.values = u_.get() + term.u;
    input.cols = rank;
    float* const added = y_[thread].get();
    kernels_.matmul[int(DType::kFloat32)](
        term.addition->b.data.as<char>() + first_panel * panel_bytes, panels, input,
        term.rows.count, added);
    const std::vector<float>& gains = term.rows.matrix->gains;
    float* to = y + term.rows.first * stride;
    for (int t = 0; t < term.rows.count; ++t, to += stride) {
      for (size_t i = 0; i < stride; ++i) to[i] += added[t * stride + i];
      if (gains.empty()) continue;
      for (size_t i = 0; i < stride; ++i) to[i] *= gains[size_t(first_panel) * kPanelRows + i];
    }
  }
}

// A row of B A, which is of the order of the width times the rank: not worth sharing out.
void add_embedding(const AdaptedMatrix& embeddings, int token, float* x) {
  for (const LowRank& addition : embeddings.additions) {
    const int rank = addition.b.cols;
    const size_t panel_bytes = packed_panel_bytes(rank, DType::kFloat32);
    const uint8_t* panel = addition.b.data.as<uint8_t>() + token / kPanelRows * panel_bytes;
    const int cols = addition.a.cols;
    std::vector<float> added(cols);
    for (int k = 0; k < rank; ++k) {
      const float factor =
          addition.scale * packed_element(panel, token % kPanelRows, k, DType::kFloat32);
      const float* a = addition.a.data.as<float>() +
                       k / kPanelRows * size_t(padded_columns(cols)) * kPanelRows + k % kPanelRows;
      for (int c = 0; c < cols; ++c) added[c] += factor * a[size_t(c) * kPanelRows];
    }
    for (int c = 0; c < cols; ++c) x[c] += added[c];
  }
}

}  // namespace openelm::cpu
