#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "../model/model.h"
#include "../simd/kernels.h"
#include "adapter.h"
#include "workers.h"

namespace openelm::cpu {

// What a matrix is multiplied with: rows of float32, RMS-normalised if there are weights for that.
struct Rows {
  const float* x;  // [., cols]
  int count;
  const float* norm = nullptr;  // [cols]
  float eps = 0;
  const int* which = nullptr;  // of rows to normalise, the first `count` when null
  std::span<const AdaptedRows> adapted = {};
};

// Products with packed matrices, shared out over the threads.
class Matmul {
 public:
  // Panels that one task multiplies: enough rows to be worth a task, few enough to share out
  // evenly.
  static constexpr int kTaskPanels = 4;

  Matmul(const Kernels& kernels, Workers& workers)
      : kernels_(kernels),
        workers_(workers),
        adapters_(kernels, workers),
        acc_(workers.pool.threads()) {}

  // The rows as the kernel of `matrix` wants them, quantised or packed once for all of its panels.
  // Valid until the next call.
  Input prepare(const Matrix& matrix, const Rows& rows) {
    const float* x = rows.norm ? normalize(rows, matrix.cols) : rows.x;
    adapters_.prepare(rows.adapted, x, matrix.cols);
    if (is_quantized(matrix.dtype)) return quantize(x, matrix.cols, rows.count);
    Input input;
    input.values = rows.count == 1 ? x : pack(x, matrix.cols, rows.count);
    input.cols = matrix.cols;
    return input;
  }

  // Multiplies `matrix`, as adapters have it, in tasks of `task_panels` panels and hands each
  // task's product on, while it is in the thread's cache: finish(first_panel, panels, acc) with acc
  // [tokens, panels * 16].
  template <typename Finish>
  void multiply(const Matrix& matrix, const Input& input, int tokens, int task_panels,
                const Finish& finish) {
    const size_t panel_bytes = packed_panel_bytes(matrix.cols, matrix.dtype);
    const int all_panels = int(matrix.data.bytes / panel_bytes);
    const int tasks = (all_panels + task_panels - 1) / task_panels;
    // Here, for a task must not throw.
    for (auto& acc : acc_) acc.reserve(size_t(tokens) * task_panels * kPanelRows);
    adapters_.reserve(task_panels);
    workers_.run(tasks, [&](int task, int thread) {
      const int first = task * task_panels;
      const int panels = std::min(task_panels, all_panels - first);
      float* acc = acc_[thread].get();
      adapters_.prefetch(first, panels);
      kernels_.matmul[int(matrix.dtype)](matrix.data.as<char>() + first * panel_bytes, panels,
                                         input, tokens, acc);
      adapters_.apply(first, panels, acc, thread);
      finish(first, panels, acc);
    });
  }

 private:
  const float* normalize(const Rows& rows, int cols) {
    float* normed = normed_.reserve(size_t(rows.count) * cols);
    workers_.run(rows.count, [&](int i, int) {
      const int row = rows.which ? rows.which[i] : i;
      kernels_.rms_norm(rows.x + size_t(row) * cols, rows.norm, rows.eps, cols,
                        normed + size_t(i) * cols);
    });
    return normed;
  }

  const float* pack(const float* x, int cols, int tokens) {
    float* packed = packed_.reserve(size_t(tokens) * cols);
    workers_.run((cols + kColumnBlock - 1) / kColumnBlock,
                 [&](int block, int) { kernels_.pack_input(x, cols, tokens, block, packed); });
    return packed;
  }

  Input quantize(const float* x, int cols, int tokens) {
    const size_t groups = size_t(groups_of(cols));
    int16_t* quantized = quantized_.reserve(tokens * groups * kGroupSize);
    float* scales = scales_.reserve(tokens * groups);
    int32_t* offsets = offsets_.reserve(tokens * groups);
    workers_.run(tokens, [&](int t, int) {
      kernels_.quantize_input(x + size_t(t) * cols, cols, quantized + t * groups * kGroupSize,
                              scales + t * groups, offsets + t * groups);
    });
    return {nullptr, quantized, scales, offsets, cols, int(groups)};
  }

  const Kernels& kernels_;
  Workers& workers_;
  AdapterProducts adapters_;
  Scratch<float> normed_;            // [T, d]
  Scratch<float> packed_;            // T * cols
  Scratch<int16_t> quantized_;       // [T, groups, 32]
  Scratch<float> scales_;            // [T, groups]
  Scratch<int32_t> offsets_;         // [T, groups]
  std::vector<Scratch<float>> acc_;  // one per thread
};

}  // namespace openelm::cpu
