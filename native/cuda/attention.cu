#include <algorithm>

#include "cuda_backend.h"
#include "reduce.cuh"

namespace openelm::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxQueries = 4;  // query heads of one KV head that share the reading of its keys
constexpr int kKeys = 4;        // keys whose loads each lane has in flight together
constexpr int kSplitGrain = 64;
constexpr int kMaxSplits = 32;
constexpr float kLog2E = 1.44269504f;
constexpr float kLeastScore = -1e30f;  // rather than -infinity: differences stay numbers

// Eight elements of a key or a value.
__device__ inline void load_chunk(const float* from, float (&v)[8]) {
  const auto* const units = reinterpret_cast<const uint4*>(from);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint4 bits = load_streaming(units + i);
    v[4 * i] = __uint_as_float(bits.x);
    v[4 * i + 1] = __uint_as_float(bits.y);
    v[4 * i + 2] = __uint_as_float(bits.z);
    v[4 * i + 3] = __uint_as_float(bits.w);
  }
}

__device__ inline void load_chunk(const __half* from, float (&v)[8]) {
  const uint4 bits = load_streaming(reinterpret_cast<const uint4*>(from));
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    __half2 pair;
    memcpy(&pair, &words[i], sizeof pair);
    v[2 * i] = __low2float(pair);
    v[2 * i + 1] = __high2float(pair);
  }
}

// A softmax in progress over some keys, for kMaxQueries heads and the lane's eight dimensions: the
// largest score, the sum of 2^(score - largest), and the values weighed by the same.
struct Partial {
  float largest[kMaxQueries];
  float sum[kMaxQueries];
  float value[kMaxQueries][8];

  __device__ void clear() {
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      largest[h] = kLeastScore;
      sum[h] = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) value[h][i] = 0;
    }
  }

  __device__ void rescale(int h, float new_largest) {
    const float factor = exp2f(largest[h] - new_largest);
    largest[h] = new_largest;
    sum[h] *= factor;
#pragma unroll
    for (int i = 0; i < 8; ++i) value[h][i] *= factor;
  }

  // Takes in what the lane at a distance has found.
  __device__ void merge(int distance) {
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      const float other = __shfl_xor_sync(~0u, largest[h], distance);
      rescale(h, fmaxf(largest[h], other));
      sum[h] += __shfl_xor_sync(~0u, sum[h], distance);
#pragma unroll
      for (int i = 0; i < 8; ++i) value[h][i] += __shfl_xor_sync(~0u, value[h][i], distance);
    }
  }
};

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
};

__device__ inline Item item_of(const BatchView& batch, const AttentionShape& shape, int index,
                               int lone) {
  const int group = shape.num_query_heads / shape.num_kv_heads;
  const int parts = (group + kMaxQueries - 1) / kMaxQueries;
  Item item;
  item.token = batch.lone_tokens[lone];
  item.kv_head = index / parts;
  const int first = index % parts * kMaxQueries;
  item.first_head = item.kv_head * group + first;
  item.heads = min(kMaxQueries, group - first);
  return item;
}

// Takes in the keys first_key + {0, 1, 2, 3} * stride below `end`, for lanes that have all of q.
template <typename Cache, int kHeadDim>
__device__ void take_keys(const Cache* k, const Cache* v, size_t key_stride, int first_key,
                          int stride, int end, const float (&q)[kMaxQueries][8], Partial& partial) {
  float scores[kKeys][kMaxQueries];
  float values[kKeys][8];
#pragma unroll
  for (int i = 0; i < kKeys; ++i) {
    const int key = min(first_key + i * stride, end - 1);
    float keys[8];
    load_chunk(k + key * key_stride, keys);
    load_chunk(v + key * key_stride, values[i]);
#pragma unroll
    for (int h = 0; h < kMaxQueries; ++h) {
      float dot = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j) dot = fmaf(q[h][j], keys[j], dot);
      scores[i][h] = warp_reduce_sum<kHeadDim / 8>(dot);
    }
  }
#pragma unroll
  for (int h = 0; h < kMaxQueries; ++h) {
    float largest = partial.largest[h];
#pragma unroll
    for (int i = 0; i < kKeys; ++i) largest = fmaxf(largest, scores[i][h]);
    partial.rescale(h, largest);
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const float weight = first_key + i * stride < end ? exp2f(scores[i][h] - largest) : 0;
      partial.sum[h] += weight;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        partial.value[h][j] = fmaf(weight, values[i][j], partial.value[h][j]);
      }
    }
  }
}

// a = the values of all splits together, over their sum, for the heads of an item.
template <int kHeadDim>
__device__ void merge_splits(const AttentionArgs& args, const Item& item, int count) {
  const AttentionShape& shape = args.shape;
  for (int i = threadIdx.x; i < item.heads * kHeadDim; i += kWarps * 32) {
    const int head = item.first_head + i / kHeadDim;
    const int dim = i % kHeadDim;
    const size_t row = size_t(blockIdx.z) * shape.num_query_heads + head;
    const float* const partials = args.scratch + row * gridDim.y * (kHeadDim + 2);
    float largest = kLeastScore;
    for (int split = 0; split < count; ++split) {
      largest = fmaxf(largest, partials[split * (kHeadDim + 2) + kHeadDim]);
    }
    float value = 0;
    float sum = 0;
    for (int split = 0; split < count; ++split) {
      const float* const partial = partials + split * (kHeadDim + 2);
      const float factor = exp2f(partial[kHeadDim] - largest);
      value = fmaf(partial[dim], factor, value);
      sum = fmaf(partial[kHeadDim + 1], factor, sum);
    }
    if (dim < shape.head_dim) {
      args.a[(size_t(item.token) * shape.num_query_heads + head) * shape.head_dim + dim] =
          value / sum;
    }
  }
}

// One block for one token, up to kMaxQueries heads of one KV head, and one split of the keys. A key
// is shared by kHeadDim / 8 lanes. Leaves the softmax in progress in scratch [lone token, Hq,
// splits, kHeadDim + 2]: values, largest score, sum. The last split that is ready merges all.
template <typename Cache, int kHeadDim>
__global__ void __launch_bounds__(kWarps * 32, 3)
    split_attention_kernel(BatchView batch, AttentionArgs args) {
  constexpr int kLanes = kHeadDim / 8;
  constexpr int kKeysOfWarp = 32 / kLanes;
  constexpr int kKeysOfBlock = kWarps * kKeysOfWarp;
  SHARED(float, found, [kWarps][kMaxQueries][kHeadDim + 2]);
  let_next_kernel_start();
  wait_for_previous_kernel();

  const AttentionShape shape = args.shape;
  const Item item = item_of(batch, shape, blockIdx.x, blockIdx.z);
  const int length = batch.tokens[item.token].position + 1;
  const Splits splits(length, gridDim.y);
  if (int(blockIdx.y) >= splits.count) return;
  const int end = min(length, int(blockIdx.y + 1) * splits.keys);

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int dim = lane % kLanes * 8;
  float q[kMaxQueries][8];
  const float scale = kLog2E * rsqrtf(float(shape.head_dim));
#pragma unroll
  for (int h = 0; h < kMaxQueries; ++h) {
    const float* const from =
        args.q +
        (size_t(item.token) * shape.num_query_heads + item.first_head + h) * shape.head_dim;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      q[h][j] = h < item.heads && dim + j < shape.head_dim ? from[dim + j] * scale : 0;
    }
  }

  const CachePointers cache =
      batch.caches[batch.sessions[item.token] * batch.num_layers + shape.layer];
  const size_t offset = size_t(item.kv_head) * kHeadDim + dim;
  Partial partial;
  partial.clear();
  for (int key = blockIdx.y * splits.keys; key < end; key += kKeys * kKeysOfBlock) {
    take_keys<Cache, kHeadDim>(
        static_cast<const Cache*>(cache.k) + offset, static_cast<const Cache*>(cache.v) + offset,
        size_t(shape.num_kv_heads) * kHeadDim, key + warp * kKeysOfWarp + lane / kLanes,
        kKeysOfBlock, end, q, partial);
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
  for (int i = threadIdx.x; i < item.heads * (kHeadDim + 2); i += kWarps * 32) {
    const int h = i / (kHeadDim + 2);
    const int j = i % (kHeadDim + 2);
    float largest = kLeastScore;
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, found[w][h][kHeadDim]);
    float total = 0;
    for (int w = 0; w < kWarps; ++w) {
      total += found[w][h][j] * exp2f(found[w][h][kHeadDim] - largest);
    }
    const size_t row = size_t(blockIdx.z) * shape.num_query_heads + item.first_head + h;
    args.scratch[(row * gridDim.y + blockIdx.y) * (kHeadDim + 2) + j] =
        j == kHeadDim ? largest : total;
  }

  SHARED(int, splits_before, [1]);
  __syncthreads();
  if (threadIdx.x == 0) {
    int* const counter = args.splits_done + blockIdx.z * gridDim.x + blockIdx.x;
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
         dim3(num_items(shape), splits, batch.num_lone_tokens), kWarps * 32, 0, batch, args);
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
  const BatchView& batch = batch_->view();
  const AttentionArgs args = {shape(layer), q.as<float>(), a.as<float>(),
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
