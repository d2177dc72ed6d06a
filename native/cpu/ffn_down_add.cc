#include "cpu_backend.h"

namespace openelm {

void CpuBackend::ffn_down_add(const Layer& layer, const Batch& batch, const float* g, float* x) {
  matmul_add(layer.proj_2, batch, g, x);
}

}  // namespace openelm
