#include "cuda_backend.h"
#include "formats.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 128;

// One block a token. It is the first kernel of a pass: none of those that follow starts before the
// passes before it have ended, so that they may read what these have left without a wait.
template <typename Format>
__global__ void embed_kernel(BatchView batch, MatrixView embeddings, float* x) {
  wait_for_previous_kernel();
  let_next_kernel_start();
  const int token = blockIdx.x;
  const int row = batch.tokens[token].id;
  float* const to = x + size_t(token) * embeddings.cols;
  for (int chunk = threadIdx.x; chunk < embeddings.stride / Format::kChunk; chunk += kThreads) {
    typename Format::Packed packed = {};
    Format::load(embeddings, row, chunk, true, packed);
    float v[Format::kChunk];
    Format::unpack(packed, v);
#pragma unroll
    for (int i = 0; i < Format::kChunk; ++i) {
      const int col = chunk * Format::kChunk + i;
      if (col < embeddings.cols) to[col] = (v[i] - Format::kBias) * Format::scale(packed);
    }
  }
}

}  // namespace

void CudaBackend::embed(const Batch& batch, const Buffer& x) {
  const MatrixView embeddings = view(weights_->token_embeddings);
  with_format(embeddings, [&](auto format) {
    launch(stream_, embed_kernel<decltype(format)>, dim3(batch.size()), kThreads, 0, batch_->view(),
           embeddings, x.as<float>());
  });
}

}  // namespace openelm::cuda
