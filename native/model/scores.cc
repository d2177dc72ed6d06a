#include "scores.h"

#include <algorithm>
#include <cfloat>
#include <utility>

#include "../error.h"
#include "portable_math.h"

namespace openelm {

float score_token(std::span<const float> logits, int target, std::span<int32_t> top_tokens,
                  std::span<float> top_logprobs) {
  const float best = max_of(logits.data(), logits.size());
  int invalid = 0;
  for (const float logit : logits) invalid |= !(logit <= FLT_MAX);
  if (invalid || best == kMinusInfinity) {
    throw Error(ErrorCode::kNonFiniteLogits, "a logit is not a number");
  }
  const double total = log_sum_exp(logits.data(), logits.size(), best);
  std::vector<int32_t> ids;
  if (!top_tokens.empty()) rank_top(logits.data(), logits.size(), top_tokens.size(), ids);
  for (size_t i = 0; i < top_tokens.size(); ++i) {
    const bool is_there = i < ids.size();
    top_tokens[i] = is_there ? ids[i] : -1;
    top_logprobs[i] = is_there ? static_cast<float>(logits[ids[i]] - total) : kMinusInfinity;
  }
  return static_cast<float>(logits[target] - total);
}

std::shared_ptr<const Scores> score(Stream& stream, Stream::Tokens tokens,
                                    std::span<const int32_t> rows, std::span<const int32_t> targets,
                                    int top) {
  const auto is_token = [&](int32_t id) { return id >= 0 && id < stream.vocab_size(); };
  const auto is_row = [&](int32_t row) { return row >= 0 && row < int(tokens.size()); };
  if (rows.size() != targets.size() || !std::ranges::all_of(targets, is_token) || top < 0 ||
      !std::ranges::all_of(rows, is_row) || !std::ranges::is_sorted(rows)) {
    throw Error(ErrorCode::kInvalidArgument, "expected targets in order of the rows appended");
  }
  const auto scores = std::make_shared<Scores>();
  scores->logprobs.resize(targets.size());
  scores->top_tokens.resize(targets.size() * top);
  scores->top_logprobs.resize(targets.size() * top);
  const auto use = [=, rows = std::vector(rows.begin(), rows.end()),
                    targets = std::vector(targets.begin(), targets.end())](
                       int row, std::span<const float> logits) {
    size_t i = std::lower_bound(rows.begin(), rows.end(), row) - rows.begin();
    for (; i < rows.size() && rows[i] == row; ++i) {
      const size_t first = i * size_t(top);
      scores->logprobs[i] =
          score_token(logits, targets[i], std::span(scores->top_tokens).subspan(first, top),
                      std::span(scores->top_logprobs).subspan(first, top));
    }
  };
  const int first_row = rows.empty() ? 0 : rows.front();
  stream.append(tokens, first_row, rows.empty() ? 0 : rows.back() + 1, use);
  return scores;
}

}  // namespace openelm
