#include "token_scores.h"

#include <algorithm>
#include <array>

#include "portable_math.h"

namespace openelm {

float max_of(const float* scores, size_t size) {
  constexpr size_t kLanes = 16;  // one running maximum would wait for itself
  std::array<float, kLanes> lanes;
  lanes.fill(kMinusInfinity);
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = scores[i + lane] > lanes[lane] ? scores[i + lane] : lanes[lane];
    }
  }
  float max = *std::max_element(lanes.begin(), lanes.end());
  for (; i < size; ++i) max = std::max(max, scores[i]);
  return max;
}

void find_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids) {
  const MoreLikely more_likely{scores};
  const auto keep_count = [&] {
    keep_most_likely(ids, more_likely, static_cast<double>(count), [](int32_t) { return 1; });
  };
  const size_t full = 2 * count + 32;
  float bar = kMinusInfinity;
  ids.clear();
  for (size_t id = 0; id < size; ++id) {
    // An equal score ranks below those that set the bar, because its id is higher.
    if (scores[id] <= bar) continue;
    ids.push_back(static_cast<int32_t>(id));
    if (ids.size() < full) continue;
    keep_count();
    bar = scores[*std::max_element(ids.begin(), ids.end(), more_likely)];
  }
  keep_count();
}

void rank_top(const float* scores, size_t size, size_t count, std::vector<int32_t>& ids) {
  find_top(scores, size, count, ids);
  std::sort(ids.begin(), ids.end(), MoreLikely{scores});
}

double log_sum_exp(const float* scores, size_t size, double best) {
  // In two loops, for the exponentials are vectorised and the sum, whose order is fixed, is not.
  std::array<double, 256> weights;
  double sum = 0;
  for (size_t begin = 0; begin < size; begin += weights.size()) {
    const size_t count = std::min(weights.size(), size - begin);
    for (size_t i = 0; i < count; ++i) weights[i] = portable_exp(scores[begin + i] - best);
    for (size_t i = 0; i < count; ++i) sum += weights[i];
  }
  return best + portable_log(sum);
}

}  // namespace openelm
