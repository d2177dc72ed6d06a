#include "cuda_backend.h"
#include "qkv_heads.cuh"

namespace openelm::cuda {
namespace {

constexpr int kWarps = 4;

// Heads of q go to q, those of k and v to the caches. One warp a head and token.
template <typename Cache>
__global__ void __launch_bounds__(kWarps * 32)
    norm_qkv_heads_kernel(BatchView batch, AttentionShape shape, QkvHeads args, float* q_out,
                          int cache_head_dim) {
  let_next_kernel_start();
  wait_for_previous_kernel();
  const int heads = shape.num_query_heads + 2 * shape.num_kv_heads;
  const int index = blockIdx.x * kWarps + threadIdx.x / 32;
  if (index >= heads) return;
  const int token = blockIdx.y;
  const int half = shape.head_dim / 2;
  const bool is_q = index < shape.num_query_heads;
  const bool is_v = index >= shape.num_query_heads + shape.num_kv_heads;
  const int position = batch.tokens[token].position;

  Head<kMaxHeadDim / 64> head;
  head.load(args.products + (size_t(token) * heads + index) * shape.head_dim, half);
  if (!is_v) {
    head.norm_and_rotate(is_q ? args.q_norm : args.k_norm, args.eps,
                         args.turns + size_t(position) * half, half);
  }
  if (is_q) {
    float* const to = q_out + (size_t(token) * shape.num_query_heads + index) * shape.head_dim;
    head.store(half, 0, [&](int j, float value) { to[j] = value; });
    return;
  }
  const CachePointers cache = batch.caches[batch.sessions[token] * batch.num_layers + shape.layer];
  const int kv_head = (index - shape.num_query_heads) % shape.num_kv_heads;
  Cache* const to = static_cast<Cache*>(is_v ? cache.v : cache.k) +
                    (size_t(position) * shape.num_kv_heads + kv_head) * cache_head_dim;
  head.store(half, cache_head_dim, [&](int j, float value) { store_in_cache(to + j, value); });
}

}  // namespace

QkvHeads CudaBackend::qkv_heads(const Layer& layer) const {
  return {static_cast<const float*>(qkv_.get()), layer.q_norm.as<float>(), layer.k_norm.as<float>(),
          weights_->config.rms_norm_eps, static_cast<const float2*>(turns_.get())};
}

// Attention finishes the heads of tokens whose sessions have no other in the batch: it needs no
// keys of this batch but the token's own.
void CudaBackend::norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x,
                           const Buffer& q) {
  multiply(layer.qkv_proj, x.as<float>(), nullptr, batch.size(), &layer.attn_norm,
           static_cast<float*>(qkv_.get()), Epilogue::kStore);
  unfinished_ = {&layer, q.as<float>()};
  if (!batch_->view().one_per_session) finish_norm_qkv();
}

void CudaBackend::finish_norm_qkv() {
  if (!unfinished_.layer) return;
  const Layer& layer = *unfinished_.layer;
  const int heads = layer.num_query_heads + 2 * layer.num_kv_heads;
  launch(stream_, float32_cache() ? norm_qkv_heads_kernel<float> : norm_qkv_heads_kernel<__half>,
         dim3((heads + kWarps - 1) / kWarps, batch_->view().num_tokens), kWarps * 32, 0,
         batch_->view(), shape(layer), qkv_heads(layer), unfinished_.q,
         padded_head_dim(weights_->config.head_dim));
  unfinished_ = {};
}

}  // namespace openelm::cuda
