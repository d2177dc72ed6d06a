#include "sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>

#include "../error.h"

namespace openelm {

namespace {

inline float finite_or_minus_infinity(float logit) {
  return std::abs(logit) <= FLT_MAX ? logit : kMinusInfinity;
}

Error no_finite_logit() {
  return Error(ErrorCode::kNonFiniteLogits, "no logit is a finite number");
}

bool are_valid(const SamplerOptions& options) {
  return options.temperature >= 0 && options.temperature <= DBL_MAX && options.top_k >= 0 &&
         options.top_p > 0 && options.top_p <= 1 && options.min_p >= 0 && options.min_p < 1 &&
         options.repetition_penalty > 0 && options.repetition_penalty <= DBL_MAX &&
         options.repetition_context_size >= 0 && options.logprobs >= 0 &&
         std::abs(options.presence_penalty) <= DBL_MAX &&
         std::abs(options.frequency_penalty) <= DBL_MAX;
}

}  // namespace

// The bits of four scores that stay, by which of the four do.
static constexpr auto kKeptBits = [] {
  std::array<std::array<uint32_t, 4>, 16> all{};
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < 4; ++j) all[i][j] = (i >> j & 1) != 0 ? ~0u : 0;
  }
  return all;
}();

// Four by four, in lanes: one by one, the scores of a large vocabulary would take longer than all
// the rest of a draw.
static void keep_32_scores(uint32_t word, float* scores) {
  constexpr uint32_t kMinusInfinityBits = std::bit_cast<uint32_t>(kMinusInfinity);
  for (int i = 0; i < 32; i += 4, scores += 4) {
    const auto& kept = kKeptBits[word >> i & 15];
    uint32_t bits[4];
    std::memcpy(bits, scores, sizeof bits);
    for (int j = 0; j < 4; ++j) bits[j] = (bits[j] & kept[j]) | (kMinusInfinityBits & ~kept[j]);
    std::memcpy(scores, bits, sizeof bits);
  }
}

// By words, since most are of tokens that all may come, or none.
void keep_scores(std::span<const uint32_t> words, float* scores, size_t size) {
  for (size_t begin = 0; begin < size; begin += 32) {
    const uint32_t word = begin / 32 < words.size() ? words[begin / 32] : 0;
    const size_t count = std::min<size_t>(32, size - begin);
    if (word == 0) {
      std::fill_n(scores + begin, count, kMinusInfinity);
    } else if (count == 32) {
      if (word != ~0u) keep_32_scores(word, scores + begin);
    } else {
      for (size_t i = 0; i < count; ++i) {
        if ((word >> i & 1) == 0) scores[begin + i] = kMinusInfinity;
      }
    }
  }
}

Sampler::Sampler(int vocab_size, const SamplerOptions& options)
    : vocab_size_(vocab_size), options_(options), random_(options.seed) {
  if (vocab_size <= 0 || !are_valid(options)) {
    throw Error(ErrorCode::kInvalidArgument, "a sampler option is out of its range");
  }
  scores_.resize(vocab_size);
  weights_.resize(vocab_size);
  kept_.reserve(vocab_size);
  if (counts_generated()) counts_.resize(vocab_size);
  if (!options.logit_bias.empty()) bias_.resize(vocab_size);
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= vocab_size || !(std::abs(bias) <= DBL_MAX)) {
      throw Error(ErrorCode::kInvalidArgument, "a logit bias is out of its range");
    }
    bias_[id] = bias;
  }
}

void Sampler::accept(const int32_t* tokens, size_t count) {
  if (std::any_of(tokens, tokens + count,
                  [&](int32_t id) { return id < 0 || id >= vocab_size_; })) {
    throw Error(ErrorCode::kInvalidArgument, "a token is not in the vocabulary");
  }
  if (count > 0) {
    if (tokens[0] == drawn_ && counts_generated() && counts_[drawn_]++ == 0) {
      generated_.push_back(drawn_);
    }
    drawn_ = -1;
  }
  const auto capacity = static_cast<size_t>(options_.repetition_context_size);
  if (options_.repetition_penalty == 1 || capacity == 0) return;
  for (size_t i = count > capacity ? count - capacity : 0; i < count; ++i) {
    if (window_.size() < capacity) {
      window_.push_back(tokens[i]);
    } else {
      window_[window_begin_] = tokens[i];
      window_begin_ = (window_begin_ + 1) % capacity;
    }
  }
}

Sample Sampler::sample(const float* logits, TokenMask* mask) {
  Sample sample;
  load(logits);
  const double log_total =
      options_.logprobs > 0 ? add_top_tokens(sample) : std::numeric_limits<double>::quiet_NaN();
  adjust(logits);
  if (mask) mask->apply(scores_.data(), scores_.size());
  filter();
  sample.token = drawn_ = draw();
  sample.logprob = static_cast<float>(logits[sample.token] - log_total);
  if (mask) sample.is_last = !mask->accept(sample.token);
  return sample;
}

std::optional<DrawArgs> Sampler::next_draw(int later) {
  constexpr double kHottest = 100;
  if (options_.repetition_penalty != 1 || counts_generated() || !bias_.empty() ||
      options_.logprobs > 0 || options_.temperature > kHottest) {
    return std::nullopt;
  }
  constexpr double kLeast = FLT_MIN;
  constexpr double kBelowOne = 1 - 0x1p-24;
  const bool greedy = options_.temperature == 0;
  Random random = random_;
  for (int i = 0; i < later; ++i) random.next();
  DrawArgs draw;
  draw.inverse_temperature =
      greedy ? 0.0f : static_cast<float>(std::min<double>(1 / options_.temperature, FLT_MAX));
  draw.top_k = static_cast<unsigned>(std::min<int64_t>(options_.top_k, vocab_size_));
  draw.top_p = static_cast<float>(std::max(options_.top_p, kLeast));
  draw.min_p = static_cast<float>(options_.min_p);
  draw.uniform = greedy ? 0.0f : static_cast<float>(std::min(random.uniform(), kBelowOne));
  return draw;
}

Sample Sampler::take(int token) {
  if (token < 0) throw no_finite_logit();
  if (options_.temperature != 0) random_.next();
  Sample sample;
  sample.token = drawn_ = token;
  return sample;
}

void Sampler::load(const float* logits) {
  for (int id = 0; id < vocab_size_; ++id) scores_[id] = finite_or_minus_infinity(logits[id]);
}

double Sampler::best_score() const {
  const float best = max_of(scores_.data(), scores_.size());
  if (best == kMinusInfinity) throw no_finite_logit();
  return best;
}

void Sampler::weigh_all(double best, double inverse_temperature) {
  for (int id = 0; id < vocab_size_; ++id) {
    weights_[id] = portable_exp((scores_[id] - best) * inverse_temperature);
  }
}

double Sampler::add_top_tokens(Sample& sample) const {
  const double log_total = log_sum_exp(scores_.data(), scores_.size(), best_score());
  const auto count = static_cast<size_t>(std::min<int64_t>(options_.logprobs, vocab_size_));
  rank_top(scores_.data(), scores_.size(), count, sample.top_tokens);
  for (const int32_t id : sample.top_tokens) {
    sample.top_logprobs.push_back(static_cast<float>(scores_[id] - log_total));
  }
  return log_total;
}

bool Sampler::counts_generated() const {
  return options_.presence_penalty != 0 || options_.frequency_penalty != 0;
}

void Sampler::adjust(const float* logits) {
  for (const auto& [id, bias] : options_.logit_bias) set_score(id, logits[id] + bias_[id]);
  for (const int32_t id : window_) {
    // From the logit and not from the score: a token that comes twice is penalised once.
    const double logit = logits[id] + (bias_.empty() ? 0.0 : bias_[id]);
    const double penalty = options_.repetition_penalty;
    set_score(id, logit > 0 ? logit / penalty : logit * penalty);
  }
  for (const int32_t id : generated_) {
    const double penalty = options_.presence_penalty + counts_[id] * options_.frequency_penalty;
    set_score(id, scores_[id] - penalty);
  }
}

// A token whose own logit is not finite stays out of the choice.
void Sampler::set_score(int32_t id, double score) {
  if (scores_[id] == kMinusInfinity) return;
  scores_[id] = static_cast<float>(std::clamp<double>(score, -FLT_MAX, FLT_MAX));
}

void Sampler::filter() {
  const double best = best_score();
  if (options_.temperature == 0) {
    const auto first = std::find(scores_.begin(), scores_.end(), static_cast<float>(best));
    kept_.assign(1, static_cast<int32_t>(first - scores_.begin()));
    return;
  }

  // Finite, so that the best score weighs e^(0 * inverse) = 1 at any temperature.
  const double inverse_temperature = std::min(1 / options_.temperature, DBL_MAX);
  const bool picks = options_.top_k > 0 && options_.top_k < vocab_size_;
  if (picks) {
    find_top(scores_.data(), scores_.size(), static_cast<size_t>(options_.top_k), kept_);
    for (const int32_t id : kept_) {
      weights_[id] = portable_exp((scores_[id] - best) * inverse_temperature);
    }
  } else {
    weigh_all(best, inverse_temperature);
    kept_.resize(static_cast<size_t>(vocab_size_));
    std::iota(kept_.begin(), kept_.end(), 0);
  }
  if (options_.top_p < 1) keep_top_p();
  if (picks || options_.top_p < 1) order_by_id();
  if (options_.min_p > 0) keep_from(options_.min_p);
  kept_weight_ = sum_of_kept();
}

void Sampler::keep_top_p() {
  const double total = sum_of_kept();
  // Tokens below this amount to less than 1 - top_p together, so that none of them is needed. What
  // they leave is most often a small part of the vocabulary.
  const double negligible = (1 - options_.top_p) * total / static_cast<double>(kept_.size());
  keep_from(negligible);
  keep_most_likely(kept_, MoreLikely{scores_.data()}, options_.top_p * total,
                   [&](int32_t id) { return weights_[id]; });
}

// A pass over all tokens: for the many that a flat distribution leaves, sorting takes much longer.
void Sampler::order_by_id() {
  const int32_t last = *std::max_element(kept_.begin(), kept_.end(), MoreLikely{scores_.data()});
  const float least = scores_[last];
  kept_.resize(static_cast<size_t>(vocab_size_));
  size_t count = 0;
  for (int32_t id = 0; id < vocab_size_; ++id) {
    kept_[count] = id;
    count += int(scores_[id] > least) | (int(scores_[id] == least) & int(id <= last));
  }
  kept_.resize(count);
}

void Sampler::keep_from(double least_weight) {
  size_t count = 0;
  for (const int32_t id : kept_) {
    // Without a branch, which would be mispredicted where about half of the tokens stay.
    kept_[count] = id;
    count += weights_[id] >= least_weight;
  }
  kept_.resize(count);
}

double Sampler::sum_of_kept() const {
  double sum = 0;
  for (const int32_t id : kept_) sum += weights_[id];
  return sum;
}

int Sampler::draw() {
  if (options_.temperature == 0) return kept_.front();
  const double target = random_.uniform() * kept_weight_;
  double reached = 0;
  for (const int32_t id : kept_) {
    reached += weights_[id];
    if (reached > target) return id;
  }
  return kept_.back();  // never: the sum ends at kept_weight_ itself, which is above the target
}

}  // namespace openelm
