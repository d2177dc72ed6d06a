// The ops that are a product and its epilogue. Those with kernels of their own have a file each.

#include "cuda_backend.h"

namespace openelm::cuda {

void CudaBackend::multiply(const Matrix& matrix, const float* x, const int* rows, int num_rows,
                           const Buffer* norm, float* y, Epilogue epilogue) {
  const MatrixView w = view(matrix);
  const float* const norm_weight = norm ? norm->as<float>() : nullptr;
  const float eps = weights_->config.rms_norm_eps;
  if (num_rows == 1 && !rows && uintptr_t(x) % 16 == 0) {
    return matvec(kernels(), {w, x, norm_weight, eps, y, epilogue});
  }
  auto* const row_scales = static_cast<float*>(row_scales_.get());
  prepare_input(kernels(), matrix.dtype,
                {x, rows, num_rows, matrix.cols, norm_weight, eps, input_.get(), row_scales});
  matmul(kernels(), {w, input_.get(), row_scales, num_rows, y, epilogue});
}

void CudaBackend::out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                               const Buffer& x) {
  multiply(layer.out_proj, a.as<float>(), nullptr, batch.size(), nullptr, x.as<float>(),
           Epilogue::kAdd);
}

void CudaBackend::norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                              const Buffer& g) {
  multiply(layer.proj_1, x.as<float>(), nullptr, batch.size(), &layer.ffn_norm, g.as<float>(),
           weights_->config.ffn_with_glu ? Epilogue::kSwiglu : Epilogue::kSilu);
}

void CudaBackend::ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                               const Buffer& x) {
  multiply(layer.proj_2, g.as<float>(), nullptr, batch.size(), nullptr, x.as<float>(),
           Epilogue::kAdd);
}

void CudaBackend::norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) {
  const int count = int(batch.logit_rows.size());
  const float* from = x.as<float>();
  const int* rows = batch_->logit_rows();
  if (count == 1) {  // after a prompt only the last token's are wanted
    from += size_t(batch.logit_rows[0]) * weights_->config.model_dim;
    rows = nullptr;
  }
  multiply(weights_->lm_head, from, rows, count, &weights_->norm, logits.as<float>(),
           Epilogue::kStore);
}

}  // namespace openelm::cuda
