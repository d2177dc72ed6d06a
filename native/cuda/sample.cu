#include <cfloat>

#include "cuda_backend.h"
#include "primitives.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
static_assert(kWarps == 32, "each lane of a warp takes what one warp has found");
constexpr int kProbes = 7;  // numbers that a search asks about in one pass over the row

template <typename T, typename Combine>
__device__ T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

// The same in every thread, combined in the same order in every call.
template <typename T, typename Combine>
__device__ T block_reduce(T value, const Combine& combine) {
  SHARED(T, of_warp, [kWarps]);
  value = warp_reduce(value, combine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = warp_reduce(of_warp[threadIdx.x % 32], combine);
  __syncthreads();
  return value;
}

__device__ inline float sum_of(float a, float b) { return a + b; }
__device__ inline float larger_of(float a, float b) { return fmaxf(a, b); }
__device__ inline int least_of(int a, int b) { return min(a, b); }
__device__ inline int most_of(int a, int b) { return max(a, b); }

// The first of low .. high for which something holds, as it does for all above it, and for `high`
// without being asked: ask(probes, holds) says it of numbers in ascending order. All threads search
// together.
template <typename Ask>
__device__ int find_first(int low, int high, const Ask& ask) {
  while (low < high) {
    const int part = (high - low) / (kProbes + 1);
    const int rest = (high - low) % (kProbes + 1);
    int probes[kProbes];
    bool holds[kProbes];
#pragma unroll
    for (int i = 0; i < kProbes; ++i) {
      probes[i] = low + part * (i + 1) + rest * (i + 1) / (kProbes + 1);
    }
    ask(probes, holds);
#pragma unroll
    for (int i = kProbes - 1; i >= 0; --i) {
      if (holds[i]) high = probes[i];
    }
#pragma unroll
    for (int i = 0; i < kProbes; ++i) {
      if (!holds[i]) low = probes[i] + 1;
    }
  }
  return low;
}

// The least likely of the tokens that the filters have left; of equally likely ones the lower id
// ranks first. A weight is known by its bits, which are as integers in the order of the weights.
struct Bar {
  int weight;
  int id;
  __device__ bool admits(int other_weight, int other_id) const {
    return other_weight > weight || (other_weight == weight && other_id <= id);
  }
};

__device__ inline bool is_finite(float x) { return fabsf(x) <= FLT_MAX; }

// A row of logits on its way to a token. Thread t looks after the ids t, t + kThreads, ...
class Row {
 public:
  __device__ Row(float* logits, int size) : values_(logits), size_(size) {}

  // The likeliest token, or -1 where no logit is finite.
  __device__ int find_best() {
    int id = -1;
    float mine = -INFINITY;
    for_each<16>([&](int other, float logit) {
      if (!is_finite(logit) || logit <= mine) return;
      id = other;
      mine = logit;
    });
    best_ = block_reduce(mine, larger_of);
    if (best_ == -INFINITY) return -1;
    return block_reduce(mine == best_ ? id : size_, least_of);
  }

  // After find_best().
  __device__ int draw(const DrawArgs& args) {
    for_each([&](int id, float logit) {
      values_[id] = is_finite(logit) ? expf((logit - best_) * args.inverse_temperature) : 0;
    });
    bar_ = {1, size_ - 1};  // the least weight above zero
    if (args.top_k > 0) raise_bar(float(args.top_k), [](float) { return 1.0f; });
    if (args.top_p < 1) raise_bar(args.top_p * kept_weight(), [](float w) { return w; });
    const int least = __float_as_int(args.min_p);
    if (least > bar_.weight) bar_ = {least, size_ - 1};

    const float total = kept_weight();
    return find_first(0, size_ - 1, [&](const int(&ids)[kProbes], bool(&holds)[kProbes]) {
      float reached[kProbes];
      sum_each([&](int i, int weight, int id) { return id <= ids[i] && bar_.admits(weight, id); },
               [](float weight) { return weight; }, reached);
#pragma unroll
      for (int i = 0; i < kProbes; ++i) {
        holds[i] = reached[i] > args.uniform * total || reached[i] == total;
      }
    });
  }

 private:
  // Loads kAtOnce logits before it visits them.
  template <int kAtOnce = 4, typename Visit>
  __device__ void for_each(const Visit& visit) const {
#pragma unroll kAtOnce
    for (int id = threadIdx.x; id < size_; id += kThreads) visit(id, values_[id]);
  }

  // sums[i]: over the tokens for which admits(i, weight, id). Terms are always added in the same
  // places, so that with more of them a sum is never less.
  template <typename Admits, typename Mass>
  __device__ void sum_each(const Admits& admits, const Mass& mass, float (&sums)[kProbes]) const {
#pragma unroll
    for (int i = 0; i < kProbes; ++i) sums[i] = 0;
    for_each([&](int id, float weight) {
      const float term = mass(weight);
#pragma unroll
      for (int i = 0; i < kProbes; ++i) {
        if (admits(i, __float_as_int(weight), id)) sums[i] += term;
      }
    });
#pragma unroll
    for (int i = 0; i < kProbes; ++i) sums[i] = block_reduce(sums[i], sum_of);
  }

  __device__ float kept_weight() const {
    float mine = 0;
    for_each([&](int id, float weight) {
      if (bar_.admits(__float_as_int(weight), id)) mine += weight;
    });
    return block_reduce(mine, sum_of);
  }

  // Leaves the fewest most likely tokens whose masses reach the target.
  template <typename Mass>
  __device__ void raise_bar(float target, const Mass& mass) {
    const auto find = [&](int low, int high, bool reaching, const auto& bar_of) {
      return find_first(low, high, [&](const int(&probes)[kProbes], bool(&holds)[kProbes]) {
        float sums[kProbes];
        sum_each([&](int i, int weight, int id) { return bar_of(probes[i]).admits(weight, id); },
                 mass, sums);
#pragma unroll
        for (int i = 0; i < kProbes; ++i) holds[i] = (sums[i] >= target) == reaching;
      });
    };
    const int above_best = __float_as_int(1.0f) + 1;
    const int weight =
        find(bar_.weight + 1, above_best, false, [&](int bits) { return Bar{bits, size_ - 1}; }) -
        1;
    int first = size_;
    int last = 0;
    for_each([&](int id, float other) {
      if (__float_as_int(other) != weight || !bar_.admits(weight, id)) return;
      first = min(first, id);
      last = id;
    });
    first = block_reduce(first, least_of);
    last = block_reduce(last, most_of);
    bar_ = {weight, find(first, last, true, [&](int id) { return Bar{weight, id}; })};
  }

  float* const values_;  // logits, then weights e^((logit - best) / temperature)
  const int size_;
  float best_;
  Bar bar_;
};

// Reads what the host has written, past the caches.
__device__ inline DrawArgs load_from_host(const DrawArgs* from) {
  static_assert(sizeof(DrawArgs) % sizeof(int) == 0, "whole words");
  int words[sizeof(DrawArgs) / sizeof(int)];
  for (int i = 0; i < int(sizeof(DrawArgs) / sizeof(int)); ++i) {
    words[i] = reinterpret_cast<const volatile int*>(from)[i];
  }
  DrawArgs args;
  memcpy(&args, words, sizeof args);
  return args;
}

// tokens [n] of logits [n, V], which it overwrites. A block takes a row: it passes over it many
// times, in the cache of its own multiprocessor. The one row of a step moves the batch on to the
// next step, in `next`.
__global__ void __launch_bounds__(kThreads)
    sample_kernel(float* logits, int vocab_size, const DrawArgs* draws, int* tokens,
                  BatchToken* next) {
  let_next_kernel_start();
  const DrawArgs draw = load_from_host(draws + blockIdx.x);
  const int position = next ? next->position : 0;
  wait_for_previous_kernel();
  Row row(logits + size_t(blockIdx.x) * vocab_size, vocab_size);
  int token = row.find_best();
  if (token >= 0 && draw.inverse_temperature > 0) token = row.draw(draw);
  if (threadIdx.x != 0) return;
  tokens[blockIdx.x] = token;
  if (next) *next = {token, position + 1};
}

}  // namespace

void CudaBackend::sample(const Batch& batch, const Buffer& logits) {
  launch(stream_, sample_kernel, dim3(batch.draws.size()), kThreads, 0, logits.as<float>(),
         weights_->config.vocab_size, batch_->draws(), batch_->sampled(),
         DeviceBatch::is_step(batch) ? batch_->next_token() : nullptr);
}

}  // namespace openelm::cuda
