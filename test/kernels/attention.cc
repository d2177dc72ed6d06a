#include <algorithm>
#include <cmath>

#include "check.h"
#include "cpu/kernels.h"
#include "reference.h"
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
  int positions;
  std::vector<float> k, v;
  std::vector<Row> keys, values;

  Caches(int h, int positions)
      : h(h),
        positions(positions),
        k(size_t(slabs()) * k_slab_stride(), NAN),
        v(size_t(positions) * v_position_stride(), NAN) {
    for (int p = 0; p < positions; ++p) {
      const std::vector<float> key = random_floats(2 * p, h);
      const std::vector<float> value = random_floats(2 * p + 1, h);
      for (int j = 0; j < h; ++j) {
        k[size_t(p / kSlab) * k_slab_stride() + (h + j) * kSlab + p % kSlab] = key[j];
        v[size_t(p) * v_position_stride() + v_stride(h) + j] = value[j];
      }
      keys.emplace_back(key.begin(), key.end());
      values.emplace_back(value.begin(), value.end());
    }
  }
  int slabs() const { return (positions + kSlab - 1) / kSlab; }
  int k_slab_stride() const { return kKvHeads * h * kSlab; }
  int v_position_stride() const { return kKvHeads * v_stride(h); }
};

std::vector<float> run(const Kernels& kernels, const Caches& caches, const float* q, int heads) {
  std::vector<float> a(size_t(heads) * caches.h, NAN);
  std::vector<float> scores(caches.slabs() * kSlab, NAN);
  AttentionArgs args;
  args.q = q;
  args.k = caches.k.data() + caches.h * kSlab;
  args.v = caches.v.data() + v_stride(caches.h);
  args.a = a.data();
  args.scores = scores.data();
  args.heads = heads;
  args.head_dim = caches.h;
  args.positions = caches.positions;
  args.k_slab_stride = caches.k_slab_stride();
  args.v_position_stride = caches.v_position_stride();
  kernels.attention(args);
  return a;
}

// `sharpness` is the standard deviation of the scores.
double attention_error(const Kernels& kernels, int h, int positions, float sharpness) {
  const Caches caches(h, positions);
  const std::vector<float> q = random_floats(h, kHeads * h, sharpness / std::sqrt(float(h)));
  const std::vector<float> a = run(kernels, caches, q.data(), kHeads);
  double worst = 0;
  for (int head = 0; head < kHeads; ++head) {
    const float* query = q.data() + head * h;
    const Row got(a.begin() + head * h, a.begin() + (head + 1) * h);
    const Row want = attention(Row(query, query + h), caches.keys, caches.values);
    worst = std::max(worst, relative_error(got, want));
    check(run(kernels, caches, query, 1) == std::vector<float>(got.begin(), got.end()),
          "a head alone differs from the same head with others");
  }
  return worst;
}

}  // namespace

void test_attention() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (int h : {2, 8, 20, 64, 80, 128}) {
      test(std::string("attention, ") + kernels->name + ", head_dim " + std::to_string(h), [&] {
        double worst = 0;
        for (int positions = 1; positions <= 70; ++positions) {
          worst = std::max(worst, attention_error(*kernels, h, positions, 1.5f));
        }
        worst = std::max(worst, attention_error(*kernels, h, 2048, 1.5f));
        check_at_most(worst, 5e-6, "the relative error");
        note(short_number(worst));
        // A score's own rounding grows with it.
        check_at_most(attention_error(*kernels, h, 61, 100), 1e-4, "sharp scores");
      });
    }
  }
}

}  // namespace openelm
