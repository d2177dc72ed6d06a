#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stream.h"

namespace openelm {

// How likely each target is in the softmax of the logits after the token before it, and which
// tokens are most likely in its place, in order. Natural logarithms.
struct Scores {
  std::vector<float> logprobs;      // [targets]
  std::vector<int32_t> top_tokens;  // [targets, top], -1 where fewer have a finite logit
  std::vector<float> top_logprobs;  // [targets, top], -infinity there
};

// Scores tokens[first_target..] as a job of the stream, which also appends them. What is returned
// is filled when take() has answered. The job throws what others do, Error{kInvalidArgument} for a
// first target that is none of the tokens behind the first, and kNonFiniteLogits when a logit is
// NaN or +infinity, or none is finite.
std::shared_ptr<const Scores> score(Stream& stream, Stream::Tokens tokens, int first_target,
                                    int top);

// Of one target: its log-probability after logits [size], with room for `top` tokens. Throws
// Error{kNonFiniteLogits}.
float score_token(std::span<const float> logits, int target, std::span<int32_t> top_tokens,
                  std::span<float> top_logprobs);

}  // namespace openelm
