#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stream.h"

namespace openelm {

// How likely each target is in the softmax of the logits that it is scored by, and which tokens are
// most likely in its place, in order. Natural logarithms.
struct Scores {
  std::vector<float> logprobs;      // [targets]
  std::vector<int32_t> top_tokens;  // [targets, top], -1 where fewer have a finite logit
  std::vector<float> top_logprobs;  // [targets, top], -infinity there
};

// Scores each target as if it came after tokens[row], by as many rows, which are in order: a job of
// the stream, which also appends the tokens. What is returned is filled when take() has answered.
// The job throws what others do, Error{kInvalidArgument} for a row that is none of the tokens' or a
// token that is not in the vocabulary, and kNonFiniteLogits when a logit is NaN or +infinity, or
// none is finite.
std::shared_ptr<const Scores> score(Stream& stream, Stream::Tokens tokens,
                                    std::span<const int32_t> rows, std::span<const int32_t> targets,
                                    int top);

// Of one target: its log-probability after logits [size], with room for `top` tokens. Throws
// Error{kNonFiniteLogits}.
float score_token(std::span<const float> logits, int target, std::span<int32_t> top_tokens,
                  std::span<float> top_logprobs);

}  // namespace openelm
