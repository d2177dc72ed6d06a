// The sums of leaves are those of one tree, whoever has computed them and however many share it.

#include "train/gradient_tree.h"

#include <cmath>
#include <limits>

#include "check.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

using namespace train;

constexpr size_t kSize = (1 << 16) + 3;
constexpr int kMaxLeaves = 16;

using Floats = std::vector<float>;

static Floats add(const Floats& a, const Floats& b) {
  Floats sum(a.size());
  for (size_t i = 0; i < a.size(); ++i) sum[i] = a[i] + b[i];
  return sum;
}

// Neighbours are added until one sum is left.
static Floats naive_tree(std::vector<Floats> level) {
  while (level.size() > 1) {
    std::vector<Floats> next;
    for (size_t i = 0; i < level.size(); i += 2) {
      next.push_back(i + 1 < level.size() ? add(level[i], level[i + 1]) : level[i]);
    }
    level = std::move(next);
  }
  return level[0];
}

// Of magnitudes that make the order matter.
static std::vector<Floats> make_leaves(int count) {
  std::vector<Floats> leaves;
  for (int leaf = 0; leaf < count; ++leaf) {
    leaves.push_back(random_floats(uint64_t(leaf) + 1, kSize, leaf % 3 == 0 ? 1000.0f : 0.3f));
  }
  return leaves;
}

// What a rank makes of the leaves [begin, end), added to zeros as a trainer does.
static Floats sum_of_rank(GradientTree<float>& tree, TaskPool& pool,
                          const std::vector<Floats>& leaves, int begin, int end) {
  Pages<float> current(kSize);
  for (int leaf = begin; leaf < end; ++leaf) {
    if (leaf > begin) tree.next_leaf(pool, current, kSize);
    for (size_t i = 0; i < kSize; ++i) current[i] += leaves[leaf][i];
  }
  tree.finish(pool, current, kSize);
  return {static_cast<float*>(current), current + kSize};
}

static bool is_power_of_two(int n) { return (n & (n - 1)) == 0; }

void test_gradient_tree() {
  const std::atomic<bool> cancelled{false};
  TaskPool pool(2, cancelled);
  const std::vector<Floats> all = make_leaves(kMaxLeaves);
  bool order_matters = false;
  for (int leaves = 1; leaves <= kMaxLeaves; ++leaves) {
    test("the sum of " + std::to_string(leaves) + " leaves, shared by any number of ranks", [&] {
      const std::vector<Floats> some(all.begin(), all.begin() + leaves);
      const Floats expected = naive_tree(some);
      Floats in_a_row = some[0];
      for (int i = 1; i < leaves; ++i) in_a_row = add(in_a_row, some[i]);
      order_matters = order_matters || in_a_row != expected;
      for (int ranks = 1; ranks <= leaves; ++ranks) {
        const int each = leaves / ranks;
        if (ranks > 1 && (leaves % ranks != 0 || !is_power_of_two(each))) continue;
        std::vector<Floats> sums;
        GradientTree<float> tree;  // used again, as in step after step
        for (int rank = 0; rank < ranks; ++rank) {
          sums.push_back(sum_of_rank(tree, pool, some, rank * each, (rank + 1) * each));
        }
        std::vector<float*> pieces;
        for (Floats& sum : sums) pieces.push_back(sum.data());
        add_pieces(pieces, kSize);
        check(sums[0] == expected, std::to_string(ranks) + " ranks");
      }
    });
  }
  test("another order gives other sums", [&] { check(order_matters, "some differ"); });
  test("what is not a number stays so in a sum of leaves", [&] {
    std::vector<Floats> leaves = make_leaves(5);
    leaves[3][7] = std::numeric_limits<float>::quiet_NaN();
    GradientTree<float> tree;
    check(std::isnan(sum_of_rank(tree, pool, leaves, 0, 5)[7]), "NaN");
  });
}

}  // namespace openelm
