#include <cstring>

#include "cpu_backend.h"

namespace openelm {

void CpuBackend::norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) {
  const Matrix& head = weights_->lm_head;
  const int rows = int(batch.logit_rows.size());
  const Input input = norm_and_prepare(head, x.as<float>(), weights_->norm, rows,
                                       [&](int i) { return batch.logit_rows[i]; });
  matmul(head, input, rows, kTaskPanels, [&](int first_panel, int panels, const float* acc) {
    const int stride = panels * kPanelRows;
    const int first = first_panel * kPanelRows;
    const int size = std::min(stride, head.rows - first);
    for (int i = 0; i < rows; ++i) {
      std::memcpy(logits.as<float>() + size_t(i) * head.rows + first, acc + size_t(i) * stride,
                  size_t(size) * sizeof(float));
    }
  });
}

}  // namespace openelm
