#include <algorithm>
#include <cmath>

#include "check.h"
#include "dtype.h"
#include "reference.h"
#include "simd/kernels.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

constexpr int kHeads = 3;
constexpr int kKvHeads = 2;

// Caches as kernels.h lays them out, of which KV head 1 is used. What lies behind the last position
// is NaN: nothing may read it into a result.
struct Caches {
  int h;
  std::vector<float> k, v;
  std::vector<uint16_t> k_halves, v_halves;
  std::vector<Row> keys, values;  // those of the float16 caches when `half`

  Caches(int h, int positions, bool half)
      : h(h),
        k(partitions(positions) * k_stride(), NAN),
        v(partitions(positions) * v_stride(), NAN) {
    for (int p = 0; p < positions; ++p) {
      std::vector<float> key = random_floats(2 * p, h);
      std::vector<float> value = random_floats(2 * p + 1, h);
      const size_t partition = p / kPartition;
      const int row = p % kPartition;
      for (int j = 0; j < h; ++j) {
        if (half) {
          key[j] = float(round_to_f16(key[j]));
          value[j] = float(round_to_f16(value[j]));
        }
        const size_t panel = partition * k_stride() + k_stride() / 2 + row / 16 * 16 * h;
        k[panel + j * 16 + row % 16] = key[j];
        const size_t columns = partition * v_stride() + v_stride() / 2 + j / 16 * 16 * kPartition;
        v[columns + row * 16 + j % 16] = value[j];
      }
      keys.emplace_back(key.begin(), key.end());
      values.emplace_back(value.begin(), value.end());
    }
    if (!half) return;
    for (float x : k) k_halves.push_back(float_to_f16(x));
    for (float x : v) v_halves.push_back(float_to_f16(x));
  }
  static size_t partitions(int positions) {
    return size_t(positions + kPartition - 1) / kPartition;
  }
  size_t k_stride() const { return size_t(kKvHeads) * kPartition * h; }
  size_t v_stride() const { return size_t(kKvHeads) * kPartition * padded_head_dim(h); }
  const void* k_at(size_t partition) const {
    const size_t i = partition * k_stride() + k_stride() / 2;
    return k_halves.empty() ? static_cast<const void*>(k.data() + i) : k_halves.data() + i;
  }
  const void* v_at(size_t partition) const {
    const size_t i = partition * v_stride() + v_stride() / 2;
    return v_halves.empty() ? static_cast<const void*>(v.data() + i) : v_halves.data() + i;
  }
};

struct Sums {
  std::vector<float> values, max, total;
  Sums(int rows, int h)
      : values(rows * padded_head_dim(h), NAN), max(rows, NAN), total(rows, NAN) {}
  AttentionSums pointers() { return {values.data(), max.data(), total.data()}; }
};

// Attention of `tokens` tokens, the first of which attends to `positions` positions; all of them
// must reach the same partitions.
std::vector<float> run(const Kernels& kernels, const Caches& caches, const float* q, int tokens,
                       int heads, int positions) {
  const int h = caches.h;
  const int rows = tokens * heads;
  std::vector<float> scores(size_t(rows) * kPartition, NAN);
  Sums all(rows, h);
  Sums later(rows, h);
  for (int begin = 0; begin < positions; begin += kPartition) {
    const size_t partition = begin / kPartition;
    const AttentionArgs args{q,
                             caches.k_at(partition),
                             caches.v_at(partition),
                             tokens,
                             heads,
                             h,
                             std::min(positions - begin, kPartition),
                             scores.data()};
    Sums& sums = begin == 0 ? all : later;
    const DType dtype = caches.k_halves.empty() ? DType::kFloat32 : DType::kFloat16;
    kernels.attention[int(dtype)](args, sums.pointers());
    if (begin > 0) kernels.merge_attention(later.pointers(), rows, h, all.pointers());
  }
  std::vector<float> a;
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < h; ++j) {
      a.push_back(all.values[row * padded_head_dim(h) + j] / all.total[row]);
    }
  }
  return a;
}

// `sharpness` is the standard deviation of the scores.
double attention_error(const Kernels& kernels, int h, int tokens, int positions, float sharpness,
                       bool half) {
  const Caches caches(h, positions + tokens - 1, half);
  const size_t size = size_t(kHeads) * h;
  const std::vector<float> q = random_floats(h, tokens * size, sharpness / std::sqrt(float(h)));
  const std::vector<float> a = run(kernels, caches, q.data(), tokens, kHeads, positions);
  double worst = 0;
  for (int t = 0; t < tokens; ++t) {
    for (int head = 0; head < kHeads; ++head) {
      const float* query = q.data() + t * size + head * h;
      const float* result = a.data() + t * size + head * h;
      const std::vector<Row> keys(caches.keys.begin(), caches.keys.begin() + positions + t);
      const std::vector<Row> values(caches.values.begin(), caches.values.begin() + positions + t);
      const Row want = attention(Row(query, query + h), keys, values);
      worst = std::max(worst, relative_error(Row(result, result + h), want));
      const std::vector<float> alone = run(kernels, caches, query, 1, 1, positions + t);
      check(alone == std::vector<float>(result, result + h),
            "a head alone differs from the same head with others");
    }
  }
  return worst;
}

}  // namespace

void test_attention() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (int h : {2, 8, 20, 64, 80, 128}) {
      for (bool half : {false, true}) {
        test(std::string("attention, ") + kernels->name + ", head_dim " + std::to_string(h) +
                 (half ? ", float16 cache" : ""),
             [&] {
               double worst = 0;
               for (int positions = 1; positions <= 70; ++positions) {
                 const int tokens = positions % 7 + 1;
                 worst =
                     std::max(worst, attention_error(*kernels, h, tokens, positions, 1.5f, half));
               }
               for (int positions : {256, 257, 300, 2048}) {
                 const int tokens = positions % kPartition == 0 ? 1 : 16;
                 worst =
                     std::max(worst, attention_error(*kernels, h, tokens, positions, 1.5f, half));
               }
               check_at_most(worst, 5e-6, "the relative error");
               note(short_number(worst));
               // A score's own rounding grows with it.
               check_at_most(attention_error(*kernels, h, 2, 61, 100, half), 1e-4, "sharp scores");
             });
      }
    }
  }
}

}  // namespace openelm
