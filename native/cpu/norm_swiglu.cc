#include <cstring>

#include "cpu_backend.h"

namespace openelm {

void CpuBackend::norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                             const Buffer& g) {
  const int tokens = batch.size();
  const int f = layer.ffn_dim;
  const bool glu = weights_->config.ffn_with_glu;
  const Input input = norm_and_prepare(layer.proj_1, x.as<float>(), layer.ffn_norm, tokens,
                                       [](int t) { return t; });

  // With GLU the panels alternate between gate and up, and a pair of them makes one panel of g.
  matmul(layer.proj_1, input, tokens, kTaskPanels, [&](int first_panel, int panels, float* acc) {
    const int stride = panels * kPanelRows;
    const int first = (glu ? first_panel / 2 : first_panel) * kPanelRows;
    const int size = std::min(glu ? stride / 2 : stride, f - first);
    for (int t = 0; t < tokens; ++t) {
      float* row = acc + size_t(t) * stride;
      if (glu) {
        kernels_.swiglu(row, panels / 2, row);
      } else {
        kernels_.silu(row, stride);
      }
      std::memcpy(g.as<float>() + size_t(t) * f + first, row, size_t(size) * sizeof(float));
    }
  });
}

}  // namespace openelm
