#include "scores.h"

#include <cfloat>

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

std::shared_ptr<const Scores> score(Stream& stream, Stream::Tokens tokens, int first_target,
                                    int top) {
  const int size = int(tokens.size());
  if (first_target < 1 || first_target > size || top < 0) {
    throw Error(ErrorCode::kInvalidArgument, "expected a first target after the first token");
  }
  const std::vector<int32_t> targets(tokens.begin() + first_target, tokens.end());
  const auto scores = std::make_shared<Scores>();
  scores->logprobs.resize(targets.size());
  scores->top_tokens.resize(targets.size() * top);
  scores->top_logprobs.resize(targets.size() * top);
  stream.append(tokens, first_target - 1, size - 1, [=](int row, std::span<const float> logits) {
    const size_t target = size_t(row + 1 - first_target);
    const size_t first = target * size_t(top);
    scores->logprobs[target] =
        score_token(logits, targets[target], std::span(scores->top_tokens).subspan(first, top),
                    std::span(scores->top_logprobs).subspan(first, top));
  });
  return scores;
}

}  // namespace openelm
