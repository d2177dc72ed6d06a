#pragma once

#include <algorithm>
#include <bit>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/drafter.h"
#include "stream_fixture.h"

namespace openelm {

// Texts that streams continue with drafts of all kinds, and how they are compared.

using Ids = std::vector<int32_t>;

inline constexpr int kCount = 40;  // tokens of a generation
inline const Ids kText = {5, 6, 7, 8, 5, 6, 7};

// Drafts a continuation that is known, each token with a given probability.
class ScriptedDrafter : public Drafter {
 public:
  ScriptedDrafter(int num_draft_tokens, Ids text, double right)
      : Drafter(num_draft_tokens), script_(std::move(text)), right_(right) {}

  std::optional<Tokens> draft(int count) override {
    draft_.clear();
    for (int i = 0; i < count && position_ + size_t(i) < script_.size(); ++i) {
      const bool is_right = double(random_bits(77, ++drafted) % 1000) < right_ * 1000;
      const int32_t token = script_[position_ + size_t(i)];
      draft_.push_back(is_right ? token : (token + 1) % kVocabSize);
    }
    longest = std::max(longest, int(draft_.size()));
    return draft_;
  }

  int drafted = 0;
  int longest = 0;

 protected:
  void set_text(Tokens text) override { position_ = text.size(); }
  void append(Tokens drawn) override { position_ += drawn.size(); }

 private:
  const Ids script_;  // with the prompt
  const double right_;
  size_t position_ = 0;
  Ids draft_;
};

struct Drawn {
  std::vector<Sample> samples;
  int accepted = 0;

  Ids tokens() const {
    Ids tokens;
    for (const Sample& sample : samples) tokens.push_back(sample.token);
    return tokens;
  }
};

inline bool are_equal(const Drawn& a, const Drawn& b) {
  const auto is_equal = [](const Sample& a, const Sample& b) {
    return a.token == b.token &&
           std::bit_cast<uint32_t>(a.logprob) == std::bit_cast<uint32_t>(b.logprob) &&
           a.top_tokens == b.top_tokens && a.top_logprobs == b.top_logprobs &&
           a.is_last == b.is_last;
  };
  return std::ranges::equal(a.samples, b.samples, is_equal);
}

// How a token is drawn.
struct Way {
  std::shared_ptr<Sampler> sampler;
  std::shared_ptr<TokenMask> mask = nullptr;
  std::shared_ptr<Drafter> drafter = nullptr;
  int ahead = 2 * kMaxDraftTokens;
};

// Continues a text, of which the stream holds the beginning.
inline Drawn generate(const Client& stream, const Ids& text, const Way& way, int count = kCount) {
  Drawn drawn;
  if (way.drafter) way.drafter->start(text);
  Ids next(text.begin() + stream->position(), text.end());
  while (int(drawn.samples.size()) < count) {
    const int left = count - int(drawn.samples.size()) - 1;
    stream->draw(next, way.sampler, std::min(way.ahead, left), way.mask, way.drafter);
    drawn.samples.push_back(stream.wait());
    drawn.accepted += drawn.samples.back().is_drafted ? 1 : 0;
    next = {drawn.samples.back().token};
  }
  stream->stop();
  stream.wait_until_idle();
  return drawn;
}

inline Ids text_with(Ids text, const Ids& tokens) {
  text.insert(text.end(), tokens.begin(), tokens.end());
  return text;
}

inline SamplerOptions penalties() {
  SamplerOptions options;
  options.temperature = 0.9;
  options.top_k = 30;
  options.top_p = 0.95;
  options.repetition_penalty = 1.2;
  options.presence_penalty = 0.3;
  options.frequency_penalty = 0.2;
  options.logit_bias = {{3, 1.5}};
  options.seed = 11;
  options.logprobs = 3;
  return options;
}

inline std::vector<SamplerOptions> ways_to_sample() {
  std::vector<SamplerOptions> all(4);
  all[1].temperature = 1;
  all[2].temperature = 0.7;
  all[2].top_k = 20;
  all[2].min_p = 0.02;
  all[2].logprobs = 2;
  all[3] = penalties();
  return all;
}

inline std::shared_ptr<Engine> engine_on(std::unique_ptr<Backend> backend, DType dtype) {
  const Config config = make_config(64, 16, kVocabSize, {{4, 2, 96}, {6, 3, 64}});
  const std::shared_ptr<Backend> shared = std::move(backend);
  LoadProgress progress(0, nullptr);
  Weights weights =
      load_weights(*shared, config, make_tensors(config, DType::kFloat32), dtype, progress);
  return std::make_shared<Engine>(shared, std::move(weights));
}

}  // namespace openelm
