#include "cuda_backend.h"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

struct QkvArgs {
  AttentionShape shape;
  const float* qkv;     // [T, (Hq + 2 Hkv) h]
  const float* q_norm;  // [h], or null
  const float* k_norm;
  float eps;
  const float2* rope;  // [positions, h / 2]: cosine and sine
  float* q;            // [T, Hq h]
};

constexpr int kWarps = 4;
constexpr int kMaxPairs = kMaxHeadDim / 2 / 32;  // of each lane

__device__ inline void store(float* to, float value) { *to = value; }
// A value beyond float16 must not become infinite: it would turn into NaN in the softmax.
__device__ inline void store(__half* to, float value) {
  *to = __float2half(value > 65504.0f ? 65504.0f : value < -65504.0f ? -65504.0f : value);
}

template <typename T>
__device__ void store_pairs(T* to, int half, const float (&first)[kMaxPairs],
                            const float (&second)[kMaxPairs]) {
#pragma unroll
  for (int i = 0; i < kMaxPairs; ++i) {
    const int j = threadIdx.x % 32 + 32 * i;
    if (j >= half) break;
    store(to + j, first[i]);
    store(to + j + half, second[i]);
  }
}

// RMSNorm of q and k, RoPE; q goes to q, k and v to the caches. One warp a head and token. A lane
// holds elements j and j + h/2, which RoPE rotates together.
template <typename Cache>
__global__ void __launch_bounds__(kWarps * 32)
    norm_qkv_heads_kernel(BatchView batch, QkvArgs args, int cache_head_dim) {
  let_next_kernel_start();
  wait_for_previous_kernel();
  const AttentionShape shape = args.shape;
  const int heads = shape.num_query_heads + 2 * shape.num_kv_heads;
  const int head = blockIdx.x * kWarps + threadIdx.x / 32;
  if (head >= heads) return;
  const int token = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int half = shape.head_dim / 2;
  const bool is_q = head < shape.num_query_heads;
  const bool is_v = head >= shape.num_query_heads + shape.num_kv_heads;
  const int position = batch.tokens[token].position;

  const float* from = args.qkv + (size_t(token) * heads + head) * shape.head_dim;
  float first[kMaxPairs] = {};
  float second[kMaxPairs] = {};
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kMaxPairs; ++i) {
    const int j = lane + 32 * i;
    if (j >= half) break;
    first[i] = from[j];
    second[i] = from[j + half];
    squares += first[i] * first[i] + second[i] * second[i];
  }
  squares = warp_reduce_sum(squares);

  const float* const norm = is_v ? nullptr : is_q ? args.q_norm : args.k_norm;
  const float scale = norm ? rsqrtf(squares / shape.head_dim + args.eps) : 1;
#pragma unroll
  for (int i = 0; i < kMaxPairs; ++i) {
    const int j = lane + 32 * i;
    if (j >= half) break;
    if (norm) {
      first[i] *= scale * norm[j];
      second[i] *= scale * norm[j + half];
    }
    if (!is_v) {
      const float2 turn = args.rope[size_t(position) * half + j];
      const float turned = first[i] * turn.x - second[i] * turn.y;
      second[i] = second[i] * turn.x + first[i] * turn.y;
      first[i] = turned;
    }
  }

  if (is_q) {
    float* const q = args.q + (size_t(token) * shape.num_query_heads + head) * shape.head_dim;
    store_pairs(q, half, first, second);
    return;
  }
  const CachePointers cache = batch.caches[batch.sessions[token] * batch.num_layers + shape.layer];
  const int kv_head = (head - shape.num_query_heads) % shape.num_kv_heads;
  Cache* const kv = static_cast<Cache*>(is_v ? cache.v : cache.k) +
                    (size_t(position) * shape.num_kv_heads + kv_head) * cache_head_dim;
  store_pairs(kv, half, first, second);
  for (int j = shape.head_dim + lane; j < cache_head_dim; j += 32) store(kv + j, 0);
}

}  // namespace

void CudaBackend::norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x,
                           const Buffer& q) {
  auto* const qkv = static_cast<float*>(qkv_.get());
  multiply(layer.qkv_proj, x.as<float>(), nullptr, batch.size(), &layer.attn_norm, qkv,
           Epilogue::kStore);

  const QkvArgs args = {shape(layer),
                        qkv,
                        layer.q_norm.as<float>(),
                        layer.k_norm.as<float>(),
                        weights_->config.rms_norm_eps,
                        static_cast<const float2*>(turns_.get()),
                        q.as<float>()};
  const int heads = layer.num_query_heads + 2 * layer.num_kv_heads;
  launch(stream_, float32_cache() ? norm_qkv_heads_kernel<float> : norm_qkv_heads_kernel<__half>,
         dim3((heads + kWarps - 1) / kWarps, batch.size()), kWarps * 32, 0, batch_->view(), args,
         padded_head_dim(weights_->config.head_dim));
}

}  // namespace openelm::cuda
