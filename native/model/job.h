#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "sampler.h"
#include "token_scores.h"

namespace openelm {

// What a stream can be asked to do with tokens [T] and the logits [V] after them: wants_logits()
// says after which, counted from 0, and use_logits() makes of each row what the job is for. Rows
// are used on several threads, and what use_logits() throws ends the job.

struct Idle {
  bool wants_logits(int, int) const { return false; }
  void use_logits(int, std::span<const int32_t>, std::span<const float>) {}
};

struct Append {
  float* logits;  // [T, V], or [1, V] for those after the last token
  bool all;

  bool wants_logits(int index, int last) const { return all || index == last; }
  void use_logits(int index, std::span<const int32_t>, std::span<const float> row) {
    std::copy(row.begin(), row.end(), logits + (all ? index * row.size() : 0));
  }
};

// What score_token() says of each target.
struct Scores {
  std::vector<float> logprobs;      // [targets]
  std::vector<int32_t> top_tokens;  // [targets, top]
  std::vector<float> top_logprobs;  // [targets, top]
};

struct Score {
  int first_target;
  size_t top;
  Scores scores;

  Score(int first_target, size_t targets, size_t top) : first_target(first_target), top(top) {
    scores.logprobs.resize(targets);
    scores.top_tokens.resize(targets * top);
    scores.top_logprobs.resize(targets * top);
  }
  bool wants_logits(int index, int last) const { return index + 1 >= first_target && index < last; }
  void use_logits(int index, std::span<const int32_t> tokens, std::span<const float> row) {
    const size_t target = index + 1 - first_target;
    scores.logprobs[target] = score_token(row.data(), row.size(), tokens[index + 1], top,
                                          scores.top_tokens.data() + target * top,
                                          scores.top_logprobs.data() + target * top);
  }
};

struct Draw {
  std::shared_ptr<Sampler> sampler;
  std::shared_ptr<TokenMask> mask;  // or null
  int ahead;                        // tokens to draw beyond those asked for
  int asked = 1;
  int drawn = 0;
  int taken = 0;
  Sample latest = {};  // on its way into the mailbox
  struct Drawn {
    Sample sample;
    int position;
  };
  std::vector<Drawn> mailbox = {};  // has room for all that may be in it

  bool can_run() const { return drawn < asked + ahead; }
  bool wants_logits(int index, int last) const { return index == last; }
  void use_logits(int, std::span<const int32_t> tokens, std::span<const float> row) {
    sampler->accept(tokens.data(), tokens.size());
    latest = sampler->sample(row.data(), mask.get());
    if (mask) mask->accept(latest.token);
  }
  // In its place, when the backend has drawn.
  void use_token(std::span<const int32_t> tokens, int token) {
    sampler->accept(tokens.data(), tokens.size());
    latest = sampler->take(token);
  }
};

using Job = std::variant<Idle, Append, Score, Draw>;

}  // namespace openelm
