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
                                    std::vector<Target> targets, int top) {
  const int vocab_size = stream.vocab_size();
  int row = 0;
  for (const Target& target : targets) {
    const bool is_known = target.token >= 0 && target.token < vocab_size;
    if (target.row < row || target.row >= int(tokens.size()) || !is_known || top < 0) {
      throw Error(ErrorCode::kInvalidArgument, "expected targets in order of the rows appended");
    }
    row = target.row;
  }
  const auto scores = std::make_shared<Scores>();
  scores->logprobs.resize(targets.size());
  scores->top_tokens.resize(targets.size() * top);
  scores->top_logprobs.resize(targets.size() * top);
  const int first_row = targets.empty() ? 0 : targets.front().row;
  const int end_row = targets.empty() ? 0 : row + 1;
  const auto use = [=, targets = std::move(targets)](int row, std::span<const float> logits) {
    const auto before = [](const Target& target, int row) { return target.row < row; };
    size_t i = std::lower_bound(targets.begin(), targets.end(), row, before) - targets.begin();
    for (; i < targets.size() && targets[i].row == row; ++i) {
      const size_t first = i * size_t(top);
      scores->logprobs[i] =
          score_token(logits, targets[i].token, std::span(scores->top_tokens).subspan(first, top),
                      std::span(scores->top_logprobs).subspan(first, top));
    }
  };
  stream.append(tokens, first_row, end_row, use);
  return scores;
}

}  // namespace openelm
