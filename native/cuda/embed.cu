#include "formats.cuh"
#include "kernels.h"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 128;

// One block a token.
template <typename Format>
__global__ void embed_kernel(BatchView batch, MatrixView embeddings, bool advance, float* x) {
  let_next_kernel_start();
  wait_for_previous_kernel();
  const int token = blockIdx.x;
  const int row = batch.tokens[token];
  float* const to = x + size_t(token) * embeddings.cols;
  for (int chunk = threadIdx.x; chunk < embeddings.stride / Format::kChunk; chunk += kThreads) {
    const typename Format::Packed packed = Format::load(embeddings, row, chunk);
    float v[Format::kChunk];
    Format::unpack(packed, v);
#pragma unroll
    for (int i = 0; i < Format::kChunk; ++i) {
      const int col = chunk * Format::kChunk + i;
      if (col < embeddings.cols) to[col] = v[i] * Format::scale(packed);
    }
  }
  // A replayed graph counts its own positions. The kernels that read them come after this one.
  if (advance && token == 0 && threadIdx.x == 0) ++batch.positions[0];
}

}  // namespace

void embed(const Device& device, const BatchView& batch, const MatrixView& embeddings, bool advance,
           float* x) {
  with_format(embeddings, [&](auto format) {
    launch(device.stream, embed_kernel<decltype(format)>, dim3(batch.num_tokens), kThreads, 0,
           batch, embeddings, advance, x);
  });
}

}  // namespace openelm::cuda
