// What the tests of the package cannot see of the sampler: test/sampler.test.ts has the rest.

#include "model/sampler.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "check.h"
#include "error.h"
#include "model/portable_math.h"
#include "model/scores.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void test_exp() {
  double worst = 0;
  const auto measure = [&](double x) {
    worst = std::max(worst, std::abs(portable_exp(x) / std::exp(x) - 1));
  };
  for (int i = 0; i <= 708'000; ++i) measure(-i / 1000.0);
  for (double x = -1; x < -1e-20; x *= 0.9) measure(x);
  check_at_most(worst, 1e-14, "the relative error");
  check(portable_exp(0) == 1, "e^0");
  for (const double x : {-708.001, -745.0, -1e9, -DBL_MAX, -double(kInfinity)}) {
    check(portable_exp(x) == 0, "what is too small is 0");
  }
}

void test_log() {
  double worst = 0;
  for (double x = 1; x < 1e6; x *= 1.0003) {
    worst = std::max(worst, std::abs(portable_log(x) - std::log(x)) / std::max(1.0, std::log(x)));
  }
  check_at_most(worst, 1e-14, "the error");
}

void test_random() {
  Random random(0);
  for (const uint64_t published : {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u}) {
    check(random.next() == published, "xoshiro256** after splitmix64");
  }
  for (int i = 0; i < 1000; ++i) {
    const double uniform = random.uniform();
    check(uniform >= 0 && uniform < 1, "outside of [0, 1)");
  }
}

// Which tokens are left of a large vocabulary, when the draw is so hot that each of them comes up.
void test_filters() {
  constexpr int kSize = 300;
  const std::vector<float> logits = random_floats(1, kSize);
  for (const int top_k : {1, 7, 150}) {
    SamplerOptions options;
    options.temperature = 1e4;
    options.top_k = top_k;
    Sampler sampler(kSize, options);
    std::vector<int> drawn(kSize);
    for (int i = 0; i < top_k * 20; ++i) ++drawn[sampler.sample(logits.data()).token];
    std::vector<int32_t> kept;
    rank_top(logits.data(), kSize, top_k, kept);
    check(int(kept.size()) == top_k, "how many");
    for (const int32_t id : kept) check(drawn[id] > 0, "a token that never comes");
    for (const int32_t id : kept) drawn[id] = 0;
    check(*std::max_element(drawn.begin(), drawn.end()) == 0, "a token that is filtered comes");
  }
}

void test_score_token() {
  std::vector<float> logits = {1, kInfinity, -kInfinity, 2, 1};
  int32_t tokens[5];
  float logprobs[5];
  const auto score = [&](int target) { return score_token(logits, target, tokens, logprobs); };
  const auto fails = [&] {
    try {
      score(0);
      return false;
    } catch (const Error& error) {
      return error.code == ErrorCode::kNonFiniteLogits;
    }
  };
  check(fails(), "infinity");
  logits[1] = std::nanf("");
  check(fails(), "NaN");
  logits[1] = -kInfinity;
  check_at_most(std::abs(score(3) - std::log(std::exp(1) / (std::exp(1) + 2))), 1e-7, "a score");
  check(score(1) == -kInfinity, "a token that cannot come");
  const int32_t expected[] = {3, 0, 4, -1, -1};
  check(std::equal(tokens, tokens + 5, expected), "the order");
  check(logprobs[1] == score(0) && logprobs[4] == -kInfinity, "their scores");
  logits.assign(5, -kInfinity);
  check(fails(), "no token that can come");
}

}  // namespace

void test_sampler() {
  test("sampler, exponential", test_exp);
  test("sampler, logarithm", test_log);
  test("sampler, random numbers", test_random);
  test("sampler, filters", test_filters);
  test("sampler, scores of tokens", test_score_token);
}

}  // namespace openelm
