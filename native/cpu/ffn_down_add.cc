#include "cpu_backend.h"

namespace openelm {

void CpuBackend::ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                              const Buffer& x) {
  matmul_add(layer.proj_2, batch, g.as<float>(), x.as<float>());
}

}  // namespace openelm
