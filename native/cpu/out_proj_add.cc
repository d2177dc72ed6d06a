#include "cpu_backend.h"

namespace openelm {

void CpuBackend::out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                              const Buffer& x) {
  matmul_add(layer.out_proj, batch, a.as<float>(), x.as<float>());
}

}  // namespace openelm
