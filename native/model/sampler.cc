#include "sampler.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "../error.h"

namespace openelm {

static_assert(FLT_EVAL_METHOD == 0, "wider intermediates would change what a seed draws");

namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr double kLn2 = 0x1.62e42fefa39efp-1;

// 1 / k!
constexpr std::array<double, 13> kInverseFactorials = [] {
  std::array<double, 13> result = {1};
  double factorial = 1;
  for (int k = 1; k < 13; ++k) result[k] = 1 / (factorial *= k);
  return result;
}();

inline double exp_nonpositive(double x) {
  constexpr double kRound = 0x1.8p52;           // adding it rounds to an integer, in the low bits
  constexpr double kLn2High = 0x1.62e42feep-1;  // few bits, so that its product with n is exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

  // x = n ln 2 + r with |r| <= ln(2) / 2, where the Taylor polynomial is within 2^-52 of e^r.
  const double shifted = x * (1 / kLn2) + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double power = kInverseFactorials[12];
  for (int k = 11; k >= 0; --k) power = power * r + kInverseFactorials[k];

  // Times 2^n, or 0 where the sign says x < -708: a branch would keep loops from being vectorised.
  const uint64_t bits = std::bit_cast<uint64_t>(power) + (std::bit_cast<uint64_t>(shifted) << 52);
  const int64_t underflow = std::bit_cast<int64_t>(x + 708) >> 63;
  return std::bit_cast<double>(bits & ~static_cast<uint64_t>(underflow));
}

// ln x for normal x >= 1.
double log_from_one(double x) {
  // The bits of a double, as an integer, are within 0.09 of a linear function of its log2. Halley's
  // iteration for e^y = x triples the digits, so that two are enough.
  double y = (static_cast<double>(std::bit_cast<uint64_t>(x)) * 0x1p-52 - 1023) * kLn2;
  for (int i = 0; i < 2; ++i) {
    const double ratio = x * exp_nonpositive(-y);
    y += 2 * (ratio - 1) / (ratio + 1);
  }
  return y;
}

inline float finite_or_minus_infinity(float logit) {
  return std::abs(logit) <= FLT_MAX ? logit : kMinusInfinity;
}

float max_of(const std::vector<float>& scores) {
  constexpr size_t kLanes = 16;  // one running maximum would wait for itself
  std::array<float, kLanes> lanes;
  lanes.fill(kMinusInfinity);
  size_t i = 0;
  for (; i + kLanes <= scores.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = scores[i + lane] > lanes[lane] ? scores[i + lane] : lanes[lane];
    }
  }
  float max = *std::max_element(lanes.begin(), lanes.end());
  for (; i < scores.size(); ++i) max = std::max(max, scores[i]);
  return max;
}

// The rank of tokens, a total order.
struct MoreLikely {
  const std::vector<float>& scores;
  bool operator()(int32_t a, int32_t b) const {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  }
};

// Drops all but the smallest set of most likely tokens whose mass reaches the target. This is
// quickselect, ours because the order in which std::nth_element leaves the ids, and so the rounding
// of sums over them, is up to each standard library.
template <typename Mass>
void keep_most_likely(std::vector<int32_t>& ids, MoreLikely more_likely, double target, Mass mass) {
  size_t begin = 0;
  size_t end = ids.size();
  while (begin < end) {
    std::swap(ids[begin], ids[begin + (end - begin) / 2]);
    const int32_t pivot = ids[begin];
    size_t middle = begin + 1;
    for (size_t i = middle; i < end; ++i) {
      const int32_t id = ids[i];
      ids[i] = ids[middle];
      ids[middle] = id;
      middle += more_likely(id, pivot);
    }
    std::swap(ids[begin], ids[--middle]);

    double above = 0;
    for (size_t i = begin; i < middle; ++i) above += mass(ids[i]);
    if (above >= target) {
      end = middle;
    } else {
      begin = middle + 1;
      target -= above + mass(pivot);
    }
  }
  ids.resize(end);
}

// The most likely tokens, at most `count`, in no particular order.
void find_top(const std::vector<float>& scores, size_t count, std::vector<int32_t>& ids) {
  const MoreLikely more_likely{scores};
  const auto keep_count = [&] {
    keep_most_likely(ids, more_likely, static_cast<double>(count), [](int32_t) { return 1; });
  };
  const size_t full = 2 * count + 32;
  float bar = kMinusInfinity;
  ids.clear();
  for (size_t id = 0; id < scores.size(); ++id) {
    // An equal score ranks below those that set the bar, because its id is higher.
    if (scores[id] <= bar) continue;
    ids.push_back(static_cast<int32_t>(id));
    if (ids.size() < full) continue;
    keep_count();
    bar = scores[*std::max_element(ids.begin(), ids.end(), more_likely)];
  }
  keep_count();
}

Error no_finite_logit() {
  return Error(ErrorCode::kNonFiniteLogits, "no logit is a finite number");
}

bool are_valid(const SamplerOptions& options) {
  return options.temperature >= 0 && options.temperature <= DBL_MAX && options.top_k >= 0 &&
         options.top_p > 0 && options.top_p <= 1 && options.min_p >= 0 && options.min_p < 1 &&
         options.repetition_penalty > 0 && options.repetition_penalty <= DBL_MAX &&
         options.repetition_context_size >= 0 && options.logprobs >= 0;
}

}  // namespace

double portable_exp(double x) { return exp_nonpositive(x); }

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t Random::next() {
  auto& [a, b, c, d] = state_;
  const uint64_t result = std::rotl(b * 5, 7) * 9;
  const uint64_t shifted = b << 17;
  c ^= a;
  d ^= b;
  b ^= c;
  a ^= d;
  c ^= shifted;
  d = std::rotl(d, 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

Sampler::Sampler(int vocab_size, const SamplerOptions& options)
    : vocab_size_(vocab_size), options_(options), random_(options.seed) {
  if (vocab_size <= 0 || !are_valid(options)) {
    throw Error(ErrorCode::kInvalidArgument, "a sampler option is out of its range");
  }
  scores_.resize(vocab_size);
  weights_.resize(vocab_size);
  kept_.reserve(vocab_size);
}

void Sampler::accept(const int32_t* tokens, size_t count) {
  const std::lock_guard lock(mutex_);
  if (std::any_of(tokens, tokens + count,
                  [&](int32_t id) { return id < 0 || id >= vocab_size_; })) {
    throw Error(ErrorCode::kInvalidArgument, "a token is not in the vocabulary");
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

Sample Sampler::sample(const float* logits) {
  const std::lock_guard lock(mutex_);
  Sample sample;
  load(logits);
  const double log_total =
      options_.logprobs > 0 ? add_top_tokens(sample) : std::numeric_limits<double>::quiet_NaN();
  penalize(logits);
  filter();
  sample.token = draw();
  sample.logprob = static_cast<float>(logits[sample.token] - log_total);
  return sample;
}

std::optional<DrawArgs> Sampler::next_draw() {
  const std::lock_guard lock(mutex_);
  constexpr double kHottest = 100;
  if (options_.repetition_penalty != 1 || options_.logprobs > 0 ||
      options_.temperature > kHottest) {
    return std::nullopt;
  }
  constexpr double kLeast = FLT_MIN;
  constexpr double kBelowOne = 1 - 0x1p-24;
  const bool greedy = options_.temperature == 0;
  DrawArgs draw;
  draw.inverse_temperature =
      greedy ? 0.0f : static_cast<float>(std::min<double>(1 / options_.temperature, FLT_MAX));
  draw.top_k = static_cast<unsigned>(std::min<int64_t>(options_.top_k, vocab_size_));
  draw.top_p = static_cast<float>(std::max(options_.top_p, kLeast));
  draw.min_p = static_cast<float>(options_.min_p);
  draw.uniform = greedy ? 0.0f : static_cast<float>(std::min(Random(random_).uniform(), kBelowOne));
  return draw;
}

Sample Sampler::take(int token) {
  const std::lock_guard lock(mutex_);
  if (token < 0) throw no_finite_logit();
  if (options_.temperature != 0) random_.next();
  Sample sample;
  sample.token = token;
  return sample;
}

void Sampler::sample_many(const float* logits, int32_t* tokens, size_t count) {
  const std::lock_guard lock(mutex_);
  load(logits);
  penalize(logits);
  filter();
  for (size_t i = 0; i < count; ++i) tokens[i] = draw();
}

void Sampler::load(const float* logits) {
  for (int id = 0; id < vocab_size_; ++id) scores_[id] = finite_or_minus_infinity(logits[id]);
}

double Sampler::best_score() const {
  const float best = max_of(scores_);
  if (best == kMinusInfinity) throw no_finite_logit();
  return best;
}

void Sampler::weigh_all(double best, double inverse_temperature) {
  for (int id = 0; id < vocab_size_; ++id) {
    weights_[id] = exp_nonpositive((scores_[id] - best) * inverse_temperature);
  }
}

double Sampler::add_top_tokens(Sample& sample) {
  const double best = best_score();
  weigh_all(best, 1);
  const double log_total =
      best + log_from_one(std::accumulate(weights_.begin(), weights_.end(), 0.0));

  const int64_t count = std::min<int64_t>(options_.logprobs, vocab_size_);
  find_top(scores_, static_cast<size_t>(count), sample.top_tokens);
  std::sort(sample.top_tokens.begin(), sample.top_tokens.end(), MoreLikely{scores_});
  for (const int32_t id : sample.top_tokens) {
    sample.top_logprobs.push_back(static_cast<float>(scores_[id] - log_total));
  }
  return log_total;
}

void Sampler::penalize(const float* logits) {
  const double penalty = options_.repetition_penalty;
  for (const int32_t id : window_) {
    // From the logit and not from the score: a token that comes twice is penalised once.
    const double logit = finite_or_minus_infinity(logits[id]);
    if (logit == kMinusInfinity) continue;
    const double score = logit > 0 ? logit / penalty : logit * penalty;
    scores_[id] = static_cast<float>(std::clamp<double>(score, -FLT_MAX, FLT_MAX));
  }
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
    find_top(scores_, static_cast<size_t>(options_.top_k), kept_);
    for (const int32_t id : kept_) {
      weights_[id] = exp_nonpositive((scores_[id] - best) * inverse_temperature);
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
  keep_most_likely(kept_, MoreLikely{scores_}, options_.top_p * total,
                   [&](int32_t id) { return weights_[id]; });
}

// A pass over all tokens: for the many that a flat distribution leaves, sorting takes much longer.
void Sampler::order_by_id() {
  const int32_t last = *std::max_element(kept_.begin(), kept_.end(), MoreLikely{scores_});
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
