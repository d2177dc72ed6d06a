#include <cfloat>

#include "cuda_backend.h"
#include "primitives.cuh"

namespace openelm::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
static_assert(kWarps == 32, "each lane of a warp takes what one warp has found");

// Sums of weights are integers, so that they do not depend on the order in which they are added:
// a weight, at most 1, in units of 2^-44.
using Mass = unsigned long long;
__device__ inline Mass mass_of(float weight) { return Mass(weight * 0x1p44f); }

template <typename T, typename Combine>
__device__ T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

// What each warp's lane 0 has, in the lanes of all warps: lane i has that of warp i.
template <typename T>
__device__ T exchange(T value) {
  SHARED(T, of_warp, [kWarps]);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warp[threadIdx.x % 32];
  __syncthreads();
  return value;
}

// The same in every thread.
template <typename T, typename Combine>
__device__ T block_reduce(T value, const Combine& combine) {
  return warp_reduce(exchange(warp_reduce(value, combine)), combine);
}

// The sum of this lane's value and of those of the lanes below.
template <typename T>
__device__ T sum_up_to(T value) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const T below = __shfl_sync(~0u, value, max(lane - distance, 0));
    if (lane >= distance) value += below;
  }
  return value;
}

__device__ inline Mass sum_of(Mass a, Mass b) { return a + b; }
__device__ inline float larger_of(float a, float b) { return fmaxf(a, b); }
__device__ inline int least_of(int a, int b) { return min(a, b); }

// The first of the warp's lanes for which it is true, or 32.
__device__ inline int first_lane(bool is_true) {
  return warp_reduce(is_true ? int(threadIdx.x % 32) : 32, least_of);
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

// Sums by a digit, of 32 bits and of what these have carried: shared memory adds no more at once.
struct Histogram {
  unsigned low[kThreads];
  unsigned high[kThreads];

  __device__ void clear() { low[threadIdx.x] = high[threadIdx.x] = 0; }
  __device__ void add(int digit, Mass mass) {
    const unsigned before = atomicAdd(&low[digit], unsigned(mass));
    const unsigned carried = unsigned(mass >> 32) + (before + unsigned(mass) < before);
    if (carried > 0) atomicAdd(&high[digit], carried);
  }
  __device__ Mass sum(int digit) const { return Mass(high[digit]) << 32 | low[digit]; }
};

__device__ inline bool is_finite(float x) { return fabsf(x) <= FLT_MAX; }

// A row of logits on its way to a token. A warp looks after consecutive ids, a lane of it after
// every 32nd of them.
class Row {
 public:
  __device__ Row(float* logits, int size) : values_(logits), size_(size) {
    const int share = (size + kThreads - 1) / kThreads * 32;
    begin_ = min(int(threadIdx.x) / 32 * share, size);
    end_ = min(begin_ + share, size);
  }

  // The likeliest token, or -1 where no logit is finite.
  __device__ int find_best() {
    int id = -1;
    float mine = -INFINITY;
    for_each<32>([&](int other, float logit) {
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
    if (args.top_k > 0) raise_bar(args.top_k, [](float) { return Mass(1); });
    if (args.top_p < 1) {
      const Mass kept = block_reduce(kept_by_lane(mass_of), sum_of);
      raise_bar(Mass(ceil(double(args.top_p) * double(kept))), mass_of);
    }
    const int least = __float_as_int(args.min_p);
    if (least > bar_.weight) bar_ = {least, size_ - 1};
    return find(kept_by_lane(mass_of), args.uniform);
  }

 private:
  // Loads kAtOnce logits before it visits them.
  template <int kAtOnce = 16, typename Visit>
  __device__ void for_each(const Visit& visit) const {
    for (int first = begin_ + int(threadIdx.x) % 32; first < end_; first += 32 * kAtOnce) {
      float values[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + 32 * i < end_) values[i] = values_[first + 32 * i];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + 32 * i < end_) visit(first + 32 * i, values[i]);
      }
    }
  }

  template <typename MassOf>
  __device__ Mass kept_by_lane(const MassOf& mass) const {
    Mass kept = 0;
    for_each([&](int id, float weight) {
      if (bar_.admits(__float_as_int(weight), id)) kept += mass(weight);
    });
    return kept;
  }

  // Leaves the fewest most likely tokens whose masses reach the target, or all if they do not.
  template <typename MassOf>
  __device__ void raise_bar(Mass target, const MassOf& mass) {
    // The weight of the last of them, digit by digit from the highest bits on.
    constexpr int kBits = 10;
    static_assert(kThreads == 1 << kBits, "a thread takes a digit");
    SHARED(Histogram, histogram, [1]);
    SHARED(int, found, [1]);
    SHARED(Mass, above, [1]);  // of the tokens that weigh more than all that have its digits
    int weight = 0;
    Mass missing = target;
    for (int shift = 2 * kBits; shift >= 0; shift -= kBits) {
      histogram[0].clear();
      if (threadIdx.x == 0) found[0] = -1;
      __syncthreads();
      for_each([&](int id, float other) {
        const int bits = __float_as_int(other);
        if (bits >> shift >> kBits != weight || !bar_.admits(bits, id)) return;
        histogram[0].add(bits >> shift & (kThreads - 1), mass(other));
      });
      __syncthreads();
      // From the highest digit down.
      const int digit = kThreads - 1 - int(threadIdx.x);
      const Mass of_digit = histogram[0].sum(digit);
      const Mass in_warp = sum_up_to(of_digit);
      const Mass of_warps = exchange(__shfl_sync(~0u, in_warp, 31));
      const Mass of_lower = sum_up_to(of_warps) - of_warps;
      const Mass before = __shfl_sync(~0u, of_lower, int(threadIdx.x) / 32) + in_warp - of_digit;
      if (before < missing && before + of_digit >= missing) {
        found[0] = digit;
        above[0] = before;
      }
      __syncthreads();
      if (found[0] < 0) return;
      weight = weight << kBits | found[0];
      missing -= above[0];
      __syncthreads();
    }

    // And of the tokens with this weight, by id, so many as it takes.
    const Mass each = mass(__uint_as_float(unsigned(weight)));
    int of_lane = 0;
    const auto is_equal = [&](int id, float other) {
      return __float_as_int(other) == weight && bar_.admits(weight, id);
    };
    for_each([&](int id, float other) { of_lane += is_equal(id, other); });
    const Mass needed = (missing + each - 1) / each;
    const int last = find_where(of_lane, needed - 1,
                                [&](int id, float other) { return Mass(is_equal(id, other)); });
    bar_ = {weight, last};
  }

  // The first id at which the mass so far is above a random share of all.
  __device__ int find(Mass of_lane, float uniform) const {
    const Mass all = block_reduce(of_lane, sum_of);
    return find_where(of_lane, Mass(double(uniform) * double(all)), [&](int id, float weight) {
      return bar_.admits(__float_as_int(weight), id) ? mass_of(weight) : 0;
    });
  }

  // The first id at which the sum of mass(id, weight) is above `target`, as it is at the end;
  // `of_lane` is the sum over this lane's ids.
  template <typename MassOf>
  __device__ int find_where(Mass of_lane, Mass target, const MassOf& mass) const {
    SHARED(int, found, [1]);
    const Mass of_warps = exchange(warp_reduce(of_lane, sum_of));
    const Mass sums = sum_up_to(of_warps);
    const int warp = first_lane(sums > target);
    if (int(threadIdx.x) / 32 == warp) {
      Mass before = __shfl_sync(~0u, sums - of_warps, warp);
      const int lane = threadIdx.x % 32;
      int first = begin_;
      for (;; first += 32) {
        const int id = first + lane;
        const Mass reached = before + sum_up_to(id < end_ ? mass(id, values_[id]) : 0);
        const int id_of_lane = first_lane(reached > target);
        if (id_of_lane < 32) {
          if (lane == 0) found[0] = first + id_of_lane;
          break;
        }
        before = __shfl_sync(~0u, reached, 31);
      }
    }
    __syncthreads();
    const int id = found[0];
    __syncthreads();
    return id;
  }

  float* const values_;  // logits, then weights e^((logit - best) / temperature)
  const int size_;
  int begin_;
  int end_;
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
  const int position = next ? next->position : 0;
  const int slot = next ? slot_of_step(position) : blockIdx.x;
  const DrawArgs draw = load_from_host(draws + slot);
  wait_for_previous_kernel();
  Row row(logits + size_t(blockIdx.x) * vocab_size, vocab_size);
  int token = row.find_best();
  if (token >= 0 && draw.inverse_temperature > 0) token = row.draw(draw);
  if (threadIdx.x != 0) return;
  tokens[slot] = token;
  if (next) *next = {token, position + 1};
}

}  // namespace

void CudaBackend::sample(const Batch& batch, const Buffer& logits) {
  launch(stream_, sample_kernel, dim3(batch.draws.size()), kThreads, 0, logits.as<float>(),
         weights_->config.vocab_size, batch_->draws(), batch_->sampled(),
         DeviceBatch::is_step(batch) ? batch_->next_token() : nullptr);
}

}  // namespace openelm::cuda
