#include "cuda_backend.h"

namespace openelm::cuda {

void CudaBackend::norm_logits(const Batch& batch, const float* x, float* logits) {
  if (replaying()) return;
  const int count = int(batch.logit_rows.size());
  if (count == 1) {  // after a prompt only the last token's are wanted
    const float* const row = x + size_t(batch.logit_rows[0]) * weights->config.model_dim;
    return multiply(weights->lm_head, row, nullptr, 1, &weights->norm, logits, Epilogue::kStore);
  }
  multiply(weights->lm_head, x, batch_->logit_rows(), count, &weights->norm, logits,
           Epilogue::kStore);
}

}  // namespace openelm::cuda
