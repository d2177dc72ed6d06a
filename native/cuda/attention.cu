#include <algorithm>

#include "attention_keys.cuh"
#include "cuda_backend.h"
#include "qkv_heads.cuh"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

constexpr int kSplitGrain = 64;
constexpr int kMaxSplits = 32;
constexpr float kLog2E = 1.44269504f;

// How the keys 0 .. length - 1 are shared out.
struct Splits {
  int keys;   // each, but for the last
  int count;  // that have any

  __device__ Splits(int length, int most) {
    keys = (length + most - 1) / most;
    keys = (keys + kSplitGrain - 1) / kSplitGrain * kSplitGrain;
    count = (length + keys - 1) / keys;
  }
};

struct Item {
  int token;
  int kv_head;
  int first_head;  // query head
  int heads;       // of them, at most kMaxQueries
  bool is_first;   // of its KV head
};

__device__ inline Item item_of(const AttentionShape& shape, int index, int token) {
  const int group = shape.num_query_heads / shape.num_kv_heads;
  const int parts = (group + kMaxQueries - 1) / kMaxQueries;
  Item item;
  item.token = token;
  item.kv_head = index / parts;
  const int first = index % parts * kMaxQueries;
  item.first_head = item.kv_head * group + first;
  item.heads = min(kMaxQueries, group - first);
  item.is_first = first == 0;
  return item;
}

// Makes q, k and v of a token's products: q goes to `queries`, and in the block that has the newest
// key, k and v to `newest` and, once, to the cache.
template <typename Cache, int kHeadDim>
__device__ void finish_heads(const AttentionArgs& args, const Item& item, int position,
                             const CachePointers& cache, bool has_newest,
                             float (&queries)[kMaxQueries][kHeadDim],
                             float (&newest)[2][kHeadDim]) {
  static_assert(kAttentionWarps == kMaxQueries, "a warp takes a query");
  const AttentionShape& shape = args.shape;
  const QkvHeads& heads = args.heads;
  const int warp = threadIdx.x / 32;
  const int half = shape.head_dim / 2;
  const int num_heads = shape.num_query_heads + 2 * shape.num_kv_heads;
  const float* const products = heads.products + size_t(item.token) * num_heads * shape.head_dim;
  const float2* const turns = heads.turns + size_t(position) * half;
  const bool takes_newest = has_newest && warp < 2;

  Head<(kHeadDim + 63) / 64> query, other;
  if (warp < item.heads) query.load(products + (item.first_head + warp) * shape.head_dim, half);
  if (takes_newest) {
    const int kv_head = shape.num_query_heads + warp * shape.num_kv_heads + item.kv_head;
    other.load(products + kv_head * shape.head_dim, half);
  }
  if (warp < item.heads) query.norm_and_rotate(heads.q_norm, heads.eps, turns, half);
  query.store(half, kHeadDim, [&](int j, float value) { queries[warp][j] = value; });
  if (!takes_newest) return;
  if (warp == 0) other.norm_and_rotate(heads.k_norm, heads.eps, turns, half);
  Cache* const to = static_cast<Cache*>(warp == 0 ? cache.k : cache.v) +
                    (size_t(position) * shape.num_kv_heads + item.kv_head) * kHeadDim;
  other.store(half, kHeadDim, [&](int j, float value) {
    Cache element;
    store_in_cache(&element, value);
    newest[warp][j] = float(element);
    if (item.is_first) to[j] = element;
  });
}

// a = the values of all splits together, over their sum, for the heads of an item: a warp takes a
// head. A lane looks after some dimensions, and after the largest score and the sum of one split.
template <int kHeadDim>
__device__ void merge_splits(const AttentionArgs& args, const Item& item, int count) {
  static_assert(kMaxSplits == 32 && kAttentionWarps == kMaxQueries);
  constexpr int kDims = kHeadDim / 32;
  constexpr int kBatch = kDims < 2 ? kMaxSplits : 64 / kDims;  // whose loads are under way together
  const AttentionShape& shape = args.shape;
  const int lane = threadIdx.x % 32;
  const int head = item.first_head + int(threadIdx.x) / 32;
  if (head >= item.first_head + item.heads) return;
  const size_t row = size_t(blockIdx.z) * shape.num_query_heads + head;
  const float* const partials = args.scratch + row * gridDim.y * (kHeadDim + 2);

  float values[kBatch][kDims];
  const auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const float* const of_split = partials + (first + i) * (kHeadDim + 2);
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        values[i][d] = first + i < count ? of_split[lane + 32 * d] : 0;
      }
    }
  };
  load(0);
  const float* const of_lane = partials + lane * (kHeadDim + 2) + kHeadDim;
  const float largest = lane < count ? of_lane[0] : kLeastScore;
  const float sum = lane < count ? of_lane[1] : 0;
  float factor = exp2f(largest - warp_reduce_max(largest));
  factor /= warp_reduce_sum(sum * factor);

  float total[kDims] = {};
  for (int first = 0; first < count; first += kBatch) {
    if (first > 0) load(first);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const float of_split = __shfl_sync(~0u, factor, first + i);
#pragma unroll
      for (int d = 0; d < kDims; ++d) total[d] = fmaf(values[i][d], of_split, total[d]);
    }
  }
  float* const to = args.a + (size_t(item.token) * shape.num_query_heads + head) * shape.head_dim;
#pragma unroll
  for (int d = 0; d < kDims; ++d) {
    if (lane + 32 * d < shape.head_dim) to[lane + 32 * d] = total[d];
  }
}

// One block for one token, up to kMaxQueries heads of one KV head, and one split of the keys. A key
// is shared by kHeadDim / 8 lanes. Leaves the softmax in progress in scratch [lone token, Hq,
// splits, kHeadDim + 2]: values, largest score, sum. The last split that is ready merges all.
template <typename Cache, int kHeadDim>
__global__ void __launch_bounds__(kAttentionWarps * 32, 3)
    split_attention_kernel(BatchView batch, AttentionArgs args) {
  constexpr int kLanes = kHeadDim / 8;
  SHARED(float, queries, [kMaxQueries][kHeadDim]);
  SHARED(float, newest, [2][kHeadDim]);
  SHARED(float, found, [kAttentionWarps][kMaxQueries][kHeadDim + 2]);
  let_next_kernel_start();

  // The batch, and the keys of earlier batches, are there: see embed_kernel.
  const bool finishes_heads = args.heads.products;
  const AttentionShape shape = args.shape;
  const int lone = blockIdx.z;
  const Item item = item_of(shape, blockIdx.x, finishes_heads ? lone : batch.lone_tokens[lone]);
  const int position = batch.tokens[item.token].position;
  const int session = finishes_heads ? lone : batch.sessions[item.token];
  const CachePointers cache = batch.caches[session * batch.num_layers + shape.layer];
  const Splits splits(position + 1, gridDim.y);
  const int first_key = blockIdx.y * splits.keys;
  const bool has_newest = finishes_heads && int(blockIdx.y) == splits.count - 1;

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int dim = lane % kLanes * 8;
  Keys<Cache, kHeadDim> keys(cache, size_t(shape.num_kv_heads) * kHeadDim,
                             size_t(item.kv_head) * kHeadDim + dim,
                             min(position + (finishes_heads ? 0 : 1), first_key + splits.keys));
  if (finishes_heads && first_key < keys.end) keys.load(first_key);
  wait_for_previous_kernel();
  if (int(blockIdx.y) >= splits.count) return;

  if (finishes_heads) {
    finish_heads<Cache, kHeadDim>(args, item, position, cache, has_newest, queries, newest);
  } else {
    for (int i = threadIdx.x; i < kMaxQueries * kHeadDim; i += kAttentionWarps * 32) {
      const int h = i / kHeadDim;
      const int j = i % kHeadDim;
      const size_t head = size_t(item.token) * shape.num_query_heads + item.first_head + h;
      queries[h][j] =
          h < item.heads && j < shape.head_dim ? args.q[head * shape.head_dim + j] : 0.0f;
    }
    if (first_key < keys.end) keys.load(first_key);
  }
  __syncthreads();
  const float scale = kLog2E * rsqrtf(float(shape.head_dim));
  float q[kMaxQueries][8];
#pragma unroll
  for (int h = 0; h < kMaxQueries; ++h) {
#pragma unroll
    for (int j = 0; j < 8; ++j) q[h][j] = queries[h][dim + j] * scale;
  }

  Partial partial;
  partial.clear();
  for (int key = first_key; key < keys.end; key += keys.kPerBlock) {
    if (key > first_key) keys.load(key);
    keys.take(q, partial);
  }
  if (has_newest && warp == 0) {
    float key[8], value[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      key[j] = newest[0][dim + j];
      value[j] = newest[1][dim + j];
    }
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      const float of_newest = score<kHeadDim>(q[h], key);
      if (lane >= kLanes) continue;
      partial.rescale(h, fmaxf(partial.largest[h], of_newest));
      partial.add(h, exp2f(of_newest - partial.largest[h]), value);
    }
  }
#pragma unroll
  for (int distance = kLanes; distance < 32; distance *= 2) partial.merge(distance);

  if (lane < kLanes) {
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
#pragma unroll
      for (int j = 0; j < 8; ++j) found[warp][h][dim + j] = partial.value[h][j];
      if (lane == 0) {
        found[warp][h][kHeadDim] = partial.largest[h];
        found[warp][h][kHeadDim + 1] = partial.sum[h];
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < item.heads * (kHeadDim + 2); i += kAttentionWarps * 32) {
    const int h = i / (kHeadDim + 2);
    const int j = i % (kHeadDim + 2);
    float largest = kLeastScore;
    for (int w = 0; w < kAttentionWarps; ++w) largest = fmaxf(largest, found[w][h][kHeadDim]);
    float total = 0;
    for (int w = 0; w < kAttentionWarps; ++w) {
      total += found[w][h][j] * exp2f(found[w][h][kHeadDim] - largest);
    }
    const size_t row = size_t(lone) * shape.num_query_heads + item.first_head + h;
    args.scratch[(row * gridDim.y + blockIdx.y) * (kHeadDim + 2) + j] =
        j == kHeadDim ? largest : total;
  }

  SHARED(int, splits_before, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    int* const counter = args.splits_done + lone * gridDim.x + blockIdx.x;
    splits_before[0] = count_block(counter);
    if (splits_before[0] == splits.count - 1) *counter = 0;  // for the next launch
  }
  __syncthreads();
  if (splits_before[0] == splits.count - 1) merge_splits<kHeadDim>(args, item, splits.count);
}

int num_items(const AttentionShape& shape) {
  const int group = shape.num_query_heads / shape.num_kv_heads;
  return shape.num_kv_heads * ((group + kMaxQueries - 1) / kMaxQueries);
}

// Two blocks for every multiprocessor, where there are not as many tokens.
int num_splits(const Device& device, const AttentionShape& shape, int lone_tokens) {
  const int wanted = 2 * device.multiprocessors / (num_items(shape) * lone_tokens) + 1;
  return wanted < kMaxSplits ? wanted : kMaxSplits;
}

template <typename Cache, int kHeadDim>
void split_attention(const Device& device, const BatchView& batch, const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  const int splits = num_splits(device, shape, batch.num_lone_tokens);
  launch(device.stream, split_attention_kernel<Cache, kHeadDim>,
         dim3(num_items(shape), splits, batch.num_lone_tokens), kAttentionWarps * 32, 0, batch,
         args);
}

template <typename Cache>
void split_attention(const Device& device, const BatchView& batch, const AttentionArgs& args) {
  switch (padded_head_dim(args.shape.head_dim)) {
    case 32:
      return split_attention<Cache, 32>(device, batch, args);
    case 64:
      return split_attention<Cache, 64>(device, batch, args);
    case 128:
      return split_attention<Cache, 128>(device, batch, args);
    default:
      return split_attention<Cache, kMaxHeadDim>(device, batch, args);
  }
}

}  // namespace

size_t attention_scratch_bytes(const Device& device, const AttentionShape& shape, int max_tokens) {
  const size_t partial = (padded_head_dim(shape.head_dim) + 2) * sizeof(float);
  size_t most = 0;
  for (int tokens = 1; tokens <= max_tokens; ++tokens) {
    most = std::max(most, size_t(tokens) * num_splits(device, shape, tokens));
  }
  return most * shape.num_query_heads * partial;
}

size_t attention_counters_bytes(const AttentionShape& shape, int max_tokens) {
  return size_t(max_tokens) * num_items(shape) * sizeof(int);
}

void CudaBackend::attention(const Layer& layer, const Batch&, const Buffer& q, const Buffer& a) {
  const bool finishes_heads = unfinished_.layer == &layer && unfinished_.q == q.as<float>();
  if (finishes_heads) {
    unfinished_ = {};
  } else {
    finish_norm_qkv();
  }
  const BatchView& batch = batch_->view();
  const AttentionArgs args = {shape(layer),
                              finishes_heads ? qkv_heads(layer) : QkvHeads(),
                              q.as<float>(),
                              a.as<float>(),
                              static_cast<float*>(attention_scratch_.get()),
                              static_cast<int*>(splits_done_.get())};
  if (batch.num_lone_tokens > 0) {
    if (args.shape.float32_cache) {
      split_attention<float>(kernels(), batch, args);
    } else {
      split_attention<__half>(kernels(), batch, args);
    }
  }
  if (batch.num_runs > 0) tiled_attention(kernels(), batch, args);
}

}  // namespace openelm::cuda
