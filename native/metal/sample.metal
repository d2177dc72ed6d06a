// tokens [n] drawn from logits [n, V], which it overwrites: model/sampler.h says how. A threadgroup
// takes a row, and passes over it many times. Thread t looks after the ids t, t + 1024, ...
#include "../draw_args.h"
#include "matrix.h"

constant constexpr uint kSampleThreads = 1024;
constant constexpr float kLargestFloat = 3.402823466e38f;

// A thread of the threadgroup and what all of them share: a word a simdgroup.
struct Sharer {
  uint index;
  uint simdgroup;
  uint lane;
  threadgroup uint* words;
};

// The same in every thread, and added in the same order in every call.
static inline float sum_all(float value, Sharer sharer) {
  value = simd_sum(value);
  if (sharer.lane == 0) sharer.words[sharer.simdgroup] = as_type<uint>(value);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  value = simd_sum(as_type<float>(sharer.words[sharer.lane]));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return value;
}

static inline uint max_all(uint value, Sharer sharer) {
  value = simd_max(value);
  if (sharer.lane == 0) sharer.words[sharer.simdgroup] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  value = simd_max(sharer.words[sharer.lane]);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return value;
}

static inline uint min_all(uint value, Sharer sharer) { return ~max_all(~value, sharer); }

static inline bool is_finite(float x) { return x >= -kLargestFloat && x <= kLargestFloat; }

// A number in the order of the logits; 0 for those that are not finite.
static inline uint order_of(float logit) {
  if (!is_finite(logit)) return 0;
  const uint bits = as_type<uint>(logit == 0.0f ? 0.0f : logit);
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

// The least likely of the tokens that the filters have left; of equally likely ones the lower id
// ranks first. A weight is known by its bits, which are as integers in the order of the weights.
struct Bar {
  uint weight;
  uint id;
};

static inline bool admits(Bar bar, uint weight, uint id) {
  return weight > bar.weight || (weight == bar.weight && id <= bar.id);
}

// The weights, or the number, of the tokens that the bar admits, up to id `last`. The terms are
// always added in the same places, so that with more of them the sum is never less.
static inline float kept_mass(device const float* weights, uint size, Bar bar, uint last,
                              bool counted, Sharer sharer) {
  float mass = 0.0f;
  for (uint id = sharer.index; id < size && id <= last; id += kSampleThreads) {
    const float weight = weights[id];
    if (admits(bar, as_type<uint>(weight), id)) mass += counted ? 1.0f : weight;
  }
  return sum_all(mass, sharer);
}

// The bar that leaves the fewest most likely tokens whose mass reaches the target.
static inline Bar raise_bar(device const float* weights, uint size, Bar bar, float target,
                            bool counted, Sharer sharer) {
  // The largest weight that leaves enough: all of the bar's do, none is above that of the best.
  uint weight = bar.weight;
  uint above = as_type<uint>(1.0f) + 1;
  while (weight + 1 < above) {
    const uint middle = weight + (above - weight) / 2;
    const Bar higher = Bar{middle, size - 1};
    if (kept_mass(weights, size, higher, size - 1, counted, sharer) >= target) {
      weight = middle;
    } else {
      above = middle;
    }
  }
  // And the lowest id among its equals.
  uint first = size;
  uint last = 0;
  for (uint id = sharer.index; id < size; id += kSampleThreads) {
    if (as_type<uint>(weights[id]) != weight || !admits(bar, weight, id)) continue;
    first = min(first, id);
    last = id;
  }
  first = min_all(first, sharer);
  last = max_all(last, sharer);
  while (first < last) {
    const uint middle = first + (last - first) / 2;
    if (kept_mass(weights, size, Bar{weight, middle}, size - 1, counted, sharer) >= target) {
      last = middle;
    } else {
      first = middle + 1;
    }
  }
  return Bar{weight, first};
}

static inline uint draw_token(device float* row, uint size, float best, constant DrawArgs& draw,
                              Sharer sharer) {
  for (uint id = sharer.index; id < size; id += kSampleThreads) {
    const float logit = row[id];
    row[id] = is_finite(logit) ? exp((logit - best) * draw.inverse_temperature) : 0.0f;
  }
  Bar bar = Bar{1, size - 1};  // the least weight above zero
  if (draw.top_k > 0) bar = raise_bar(row, size, bar, float(draw.top_k), true, sharer);
  if (draw.top_p < 1.0f) {
    const float all = kept_mass(row, size, bar, size - 1, false, sharer);
    bar = raise_bar(row, size, bar, draw.top_p * all, false, sharer);
  }
  const uint least = as_type<uint>(draw.min_p);
  if (least > bar.weight) bar = Bar{least, size - 1};

  // The first id at which the mass so far is above a random share of all.
  const float all = kept_mass(row, size, bar, size - 1, false, sharer);
  uint first = 0;
  uint last = size - 1;
  while (first < last) {
    const uint middle = first + (last - first) / 2;
    const float mass = kept_mass(row, size, bar, middle, false, sharer);
    if (mass > draw.uniform * all || mass == all) {
      last = middle;
    } else {
      first = middle + 1;
    }
  }
  return first;
}

[[max_total_threads_per_threadgroup(kSampleThreads)]]
kernel void sample(device float* logits [[buffer(0)]], constant DrawArgs* draws [[buffer(1)]],
                   device int* tokens [[buffer(2)]], constant uint& vocab_size [[buffer(3)]],
                   uint index [[threadgroup_position_in_grid]],
                   uint thread_index [[thread_index_in_threadgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]]) {
  threadgroup uint words[kSampleThreads / kSimdWidth];
  const Sharer sharer = Sharer{thread_index, simdgroup, lane, words};
  device float* row = logits + ulong(index) * vocab_size;

  uint order = 0;
  for (uint id = thread_index; id < vocab_size; id += kSampleThreads) {
    order = max(order, order_of(row[id]));
  }
  order = max_all(order, sharer);
  uint token = vocab_size;
  for (uint id = thread_index; id < vocab_size; id += kSampleThreads) {
    if (order_of(row[id]) == order) token = min(token, id);
  }
  token = min_all(token, sharer);

  if (order > 0 && draws[index].inverse_temperature > 0.0f) {
    const float best = row[token];
    threadgroup_barrier(mem_flags::mem_device);  // before it becomes a weight
    token = draw_token(row, vocab_size, best, draws[index], sharer);
  }
  if (thread_index == 0) tokens[index] = order > 0 ? int(token) : -1;
}
