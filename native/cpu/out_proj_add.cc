#include "cpu_backend.h"

namespace openelm {

void CpuBackend::out_proj_add(const Layer& layer, const Batch& batch, const float* a, float* x) {
  matmul_add(layer.out_proj, batch, a, x);
}

}  // namespace openelm
