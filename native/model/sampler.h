#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "../draw_args.h"
#include "portable_math.h"

namespace openelm {

struct SamplerOptions {
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: off
  double top_p = 1;        // (0, 1]
  double min_p = 0;        // [0, 1)
  double repetition_penalty = 1;
  int64_t repetition_context_size = 64;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<std::pair<int32_t, double>> logit_bias;  // tokens, and what is added to their logits
  uint64_t seed = 0;
  int64_t logprobs = 0;
};

// Log-probabilities are natural logarithms under the model's own distribution: the softmax of its
// logits, before any penalty or filter. They cost a pass of exponentials, so that without
// options.logprobs there are none.
struct Sample {
  int token = 0;
  float logprob = std::numeric_limits<float>::quiet_NaN();
  std::vector<int32_t> top_tokens;  // up to options.logprobs, most likely first, then lowest id
  std::vector<float> top_logprobs;
  bool is_last = false;     // a mask says that nothing but an end can follow
  bool is_drafted = false;  // a drafter has guessed it
};

// Which tokens may come next.
class TokenMask {
 public:
  virtual ~TokenMask() = default;

  // Makes the scores [size] of all tokens that may not come next -infinity.
  virtual void apply(float* scores, size_t size) = 0;

  // Goes on behind the token that was drawn. Returns whether anything but an end can follow.
  virtual bool accept(int32_t token) = 0;
};

// Makes all scores [size] -infinity but those of the tokens i whose bit i % 32 of word i / 32 is
// set.
void keep_scores(std::span<const uint32_t> words, float* scores, size_t size);

// A mask for one token, of such words.
class TokenBits : public TokenMask {
 public:
  explicit TokenBits(std::vector<uint32_t> words) : words_(std::move(words)) {}

  void apply(float* scores, size_t size) override { keep_scores(words_, scores, size); }
  bool accept(int32_t) override { return true; }

 private:
  const std::vector<uint32_t> words_;
};

// Turns logits [vocab_size] into a token, by these steps in this order, which is that of Hugging
// Face's `generate`:
//   logit bias          added to the logits of its tokens
//   repetition penalty  over the tokens in the window of the last accepted ones: a positive logit
//                       is divided by it and a negative one multiplied, once per distinct token
//   presence penalty    subtracted from the logit of each token that was generated before, and
//   frequency penalty   subtracted once for each time that it was: as OpenAI defines the two
//   mask                tokens that may not come next are left out
//   temperature         p = softmax(logits / temperature)
//   top_k               the top_k most likely tokens
//   top_p               the fewest most likely tokens that have top_p of the mass top_k left
//   min_p               the tokens at least min_p times as likely as the likeliest one
//   one draw            of one uniform number, from what is left in the order of the ids
// Temperature 0 takes the likeliest token after the penalties and draws no number. Equally likely
// tokens rank by id, lowest first. A logit that is not finite is never chosen.
//
// A token counts as generated when it is drawn and then accepted. What is accepted otherwise is
// part of a prompt, which the presence and frequency penalties do not see.
//
// The same seed gives the same tokens on every platform: all arithmetic is IEEE double in a fixed
// order, and no choice is left to the standard library. One call at a time.
class Sampler {
 public:
  Sampler(int vocab_size, const SamplerOptions& options);

  int vocab_size() const { return vocab_size_; }

  // Appends tokens to the text that the penalties see.
  void accept(const int32_t* tokens, size_t count);

  // The token drawn is one that the mask allows, if there is one, which has then gone on behind it.
  // It is not accepted.
  Sample sample(const float* logits, TokenMask* mask = nullptr);

  // What the next sample() without a mask does, or the one `later` calls after it, for a backend
  // that draws in float32 from the logits where they are, with the same result but where two tokens
  // are all but equally good. None when that takes more than the logits (a bias, a penalty, or
  // log-probabilities to report), or float32 cannot tell the weights of tokens apart because the
  // temperature is above 100.
  std::optional<DrawArgs> next_draw(int later = 0);

  // In the place of sample(): the token that a backend has drawn by next_draw(), or -1.
  Sample take(int token);

 private:
  void load(const float* logits);
  double best_score() const;
  void weigh_all(double best, double inverse_temperature);
  double add_top_tokens(Sample& sample) const;  // returns the log of the softmax's denominator
  bool counts_generated() const;
  void adjust(const float* logits);  // bias and penalties
  void set_score(int32_t id, double score);
  void filter();
  void keep_top_p();
  void order_by_id();  // the tokens kept, which are the most likely ones
  void keep_from(double least_weight);
  double sum_of_kept() const;
  int draw();

  const int vocab_size_;
  const SamplerOptions options_;
  Random random_;

  std::vector<int32_t> window_;  // a ring once it is full
  size_t window_begin_ = 0;      // the oldest token in it
  std::vector<double> bias_;     // a logit bias for each token, or nothing

  int32_t drawn_ = -1;              // not accepted yet
  std::vector<int32_t> counts_;     // how often each token was generated, or nothing
  std::vector<int32_t> generated_;  // the tokens that were

  // Scratch, one entry a token of the vocabulary.
  std::vector<float> scores_;    // logits after bias and penalties; -infinity where not finite
  std::vector<double> weights_;  // e^((score - best) / temperature), set for the tokens in kept_
  std::vector<int32_t> kept_;    // the tokens that the filters left
  double kept_weight_ = 0;
};

}  // namespace openelm
