#include "cpu_backend.h"

namespace openelm {

void CpuBackend::embed(const Batch& batch, const Buffer& x) {
  const Matrix& embeddings = weights_->token_embeddings;
  for (int t = 0; t < batch.size(); ++t) {
    unpack_row(embeddings, batch.tokens[t], x.as<float>() + size_t(t) * embeddings.cols);
  }
}

}  // namespace openelm
