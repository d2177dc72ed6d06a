#include "../model/kv_cache.h"
#include "cpu_backend.h"

namespace openelm {

void CpuBackend::attention(const Layer& layer, const Batch& batch, const float* q, float* a) {
  const int h = weights->config.head_dim;
  const int q_dim = layer.num_query_heads * h;
  const int group = layer.num_query_heads / layer.num_kv_heads;
  // The query heads of a KV head share its keys in cache; with little else to do they spread out.
  const bool enough_tasks = batch.size() * layer.num_kv_heads >= 4 * pool_.threads();
  const int heads = enough_tasks ? group : 1;
  const int tasks_per_token = layer.num_query_heads / heads;

  parallel(batch.size() * tasks_per_token, [&](int task, int thread) {
    const int t = task / tasks_per_token;
    const int first_head = task % tasks_per_token * heads;
    const int kv_head = first_head / group;
    const size_t offset = size_t(t) * q_dim + size_t(first_head) * h;
    AttentionArgs args;
    args.q = q + offset;
    args.a = a + offset;
    args.k = batch.caches[t]->k(layer.index) + size_t(kv_head) * h * kSlab;
    args.v = batch.caches[t]->v(layer.index) + size_t(kv_head) * v_stride(h);
    args.scores = scores_[thread].data();
    args.heads = heads;
    args.head_dim = h;
    args.positions = batch.positions[t] + 1;
    args.k_slab_stride = layer.num_kv_heads * h * kSlab;
    args.v_position_stride = layer.num_kv_heads * v_stride(h);
    kernels_.attention(args);
  });
}

}  // namespace openelm
