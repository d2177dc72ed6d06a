#include "cuda_backend.h"

namespace openelm::cuda {

void CudaBackend::norm_swiglu(const Layer& layer, const Batch& batch, const float* x, float* g) {
  if (replaying()) return;
  const bool glu = weights->config.ffn_with_glu;
  multiply(layer.proj_1, x, nullptr, batch.size(), &layer.ffn_norm, g,
           glu ? Epilogue::kSwiglu : Epilogue::kSilu);
}

}  // namespace openelm::cuda
