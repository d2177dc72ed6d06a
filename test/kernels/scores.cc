// Scores of given tokens, alone or beside other streams.

#include "model/scores.h"

#include <algorithm>
#include <cmath>

#include "stream_fixture.h"
#include "suites.h"

namespace openelm {

namespace {

// The same as in double precision, and the same bits for any number of threads and in company.
void test_scores() {
  constexpr int kTop = 4;
  const std::vector<int32_t> text = tokens_of(1, 0, 60);
  const auto begin_from = [&](const Client& stream, int first_target) {
    std::vector<int32_t> rows;
    for (int i = first_target; i < int(text.size()); ++i) rows.push_back(i - 1);
    return score(*stream, text, rows, std::span(text).subspan(first_target), kTop);
  };
  const auto score_from = [&](const Client& stream, int first_target) {
    const auto scores = begin_from(stream, first_target);
    stream.wait();
    return *scores;
  };
  StreamModel model(1);
  const Scores expected = score_from(model.stream(), 1);
  const std::vector<float> logits = model.stream().append(text, true);
  for (size_t target = 1; target < text.size(); ++target) {
    const float* row = logits.data() + (target - 1) * kVocabSize;
    double sum = 0;
    for (int id = 0; id < kVocabSize; ++id) sum += std::exp(double(row[id]));
    const auto logprob = [&](int id) { return row[id] - std::log(sum); };
    check_at_most(std::abs(expected.logprobs[target - 1] - logprob(text[target])), 1e-6, "a score");
    std::vector<int> ranked;
    for (int id = 0; id < kVocabSize; ++id) ranked.push_back(id);
    std::sort(ranked.begin(), ranked.end(),
              [&](int a, int b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    for (int i = 0; i < kTop; ++i) {
      const size_t at = (target - 1) * kTop + i;
      check(expected.top_tokens[at] == ranked[i], "the best tokens");
      check_at_most(std::abs(expected.top_logprobs[at] - logprob(ranked[i])), 1e-6, "their scores");
    }
  }

  for (const int threads : {2, 5}) {
    StreamModel other(threads);
    const Client stream = other.stream();
    const Client company = other.stream();
    std::shared_ptr<const Scores> scores;
    other.hold_batch_of([&] {
      company->draw(tokens_of(0, 0, 3), make_sampler(), 7);
      scores = begin_from(stream, 1);
    });
    other.backend->let_go();
    stream.wait();
    check(scores->logprobs == expected.logprobs && scores->top_tokens == expected.top_tokens &&
              scores->top_logprobs == expected.top_logprobs,
          "other bits with more threads");
    check(stream->position() == int(text.size()), "the position");
    const Scores last = score_from(other.stream(), 59);
    check(last.logprobs == std::vector{expected.logprobs.back()}, "the last alone");
    check(score_from(other.stream(), 60).logprobs.empty(), "none");
    const Client several = other.stream();
    const auto begin = [&](std::vector<int32_t> rows, std::vector<int32_t> targets) {
      return score(*several, text, rows, targets, kTop);
    };
    const auto after_one = begin({20, 20, 58}, {3, text[21], text[59]});
    several.wait();
    check(after_one->logprobs[1] == expected.logprobs[20], "one of several after a row");
    check(after_one->logprobs[2] == expected.logprobs.back(), "after another row");
    const auto fails = [&](std::vector<int32_t> rows, std::vector<int32_t> targets) {
      return code_of([&] { begin(rows, targets); }) == ErrorCode::kInvalidArgument;
    };
    check(fails({1, 0}, {0, 0}), "rows out of order");
    check(fails({60}, {0}) && fails({-1}, {0}), "a row that is none of the tokens'");
    check(fails({1}, {kVocabSize}), "no token");
    check(fails({1, 2}, {0}), "a row without a target");
  }
}

}  // namespace

void test_token_scores() { test("scores", test_scores); }

}  // namespace openelm
