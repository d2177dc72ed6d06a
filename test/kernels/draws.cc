// Drawing tokens on the GPUs, against the host's sampler and against a draw written from the
// definition.

#include <algorithm>
#include <cmath>
#include <list>
#include <set>

#include "check.h"
#include "error.h"
#include "fixture.h"
#include "model.h"
#include "model/sampler.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {
namespace {

using Floats = std::vector<float>;

// The ids that the filters leave, ascending, and the first of them at which the sum of their
// probabilities is above the random number.
int reference_draw(const Floats& logits, const SamplerOptions& options, double uniform) {
  std::vector<int> ids;
  for (int id = 0; id < int(logits.size()); ++id) {
    if (std::isfinite(logits[size_t(id)])) ids.push_back(id);
  }
  const auto logit = [&](int id) { return double(logits[size_t(id)]); };
  std::sort(ids.begin(), ids.end(),
            [&](int a, int b) { return logit(a) != logit(b) ? logit(a) > logit(b) : a < b; });
  if (ids.empty()) return -1;
  if (options.temperature == 0) return ids[0];
  const auto weight = [&, best = logit(ids[0])](int id) {
    return std::exp((logit(id) - best) / options.temperature);
  };
  const auto sum = [&](const std::vector<int>& of) {
    double total = 0;
    for (int id : of) total += weight(id);
    return total;
  };
  if (options.top_k > 0) ids.resize(std::min(ids.size(), size_t(options.top_k)));
  const double needed = options.top_p * sum(ids);
  double mass = 0;
  size_t count = 0;
  while (count < ids.size() && (options.top_p >= 1 || mass < needed)) mass += weight(ids[count++]);
  ids.resize(count);
  std::erase_if(ids, [&](int id) { return weight(id) < options.min_p; });
  std::sort(ids.begin(), ids.end());

  const double target = uniform * sum(ids);
  double reached = 0;
  for (int id : ids) {
    reached += weight(id);
    if (reached > target) return id;
  }
  return ids.back();
}

// What rounding to float32 may make of a draw: the same token, unless the random number, or the
// mass that top_p asks for, is at the very edge of one.
std::set<int> allowed_draws(const Floats& logits, SamplerOptions options, double uniform) {
  std::set<int> allowed;
  const double top_p = options.top_p;
  for (double shift : {-2e-6, 0.0, 2e-6}) {
    if (top_p < 1) options.top_p = std::max(top_p + shift, 1e-60);
    for (double other : {-2e-6, 0.0, 2e-6}) {
      allowed.insert(reference_draw(logits, options, std::clamp(uniform + other, 0.0, 1 - 1e-7)));
    }
  }
  return allowed;
}

// A model is needed only for the memory that its backend keeps.
Model drawing_model(const TestBackend& backend, int vocab_size) {
  const Config config = make_config(32, 8, vocab_size, {{4, 1, 32}});
  return {backend, config, DType::kFloat32, make_tensors(config, DType::kFloat32), 1};
}

uint64_t random_count = 0;

// Uniform in [-1, 1).
float random_value() { return random_float(7, ++random_count) / std::sqrt(3.0f); }

SamplerOptions options_of(double temperature, int top_k, double top_p, double min_p) {
  SamplerOptions options;
  options.temperature = temperature;
  options.top_k = top_k;
  options.top_p = top_p;
  options.min_p = min_p;
  return options;
}

std::string text(const SamplerOptions& options) {
  return "temperature " + std::to_string(options.temperature) + ", top_k " +
         std::to_string(options.top_k) + ", top_p " + std::to_string(options.top_p) + ", min_p " +
         std::to_string(options.min_p);
}

const SamplerOptions kOptions[] = {
    options_of(0, 0, 1, 0),         options_of(1, 0, 1, 0),        options_of(0.8, 0, 0.95, 0),
    options_of(1.3, 7, 1, 0),       options_of(0.7, 40, 0.9, 0),   options_of(1.5, 0, 1, 0.05),
    options_of(0.9, 20, 0.8, 0.02), options_of(2, 1, 1, 0),        options_of(1e-3, 0, 0.5, 0),
    options_of(5, 3, 0.99, 0),      options_of(1e-300, 0, 0.9, 0), options_of(100, 0, 0.3, 0),
    options_of(1, 100000, 1, 0.5),  options_of(1, 0, 1e-60, 0),
};

enum Kind { kSmooth, kTied, kFlat, kPeaked, kBroken, kKinds };

// Logits as models give them, and as they do not.
Floats make_logits(int kind, int vocab_size) {
  Floats logits(size_t(vocab_size), 0.25f);
  for (float& logit : logits) {
    const float random = random_value() + random_value() + random_value();
    if (kind == kSmooth) logit = 4 * random;
    if (kind == kTied) logit = std::round(2 * random);
    if (kind == kPeaked) logit = random_value() > 0.9f ? 20 + random : -1e4f * std::abs(random);
    if (kind == kBroken) logit = random > 1 ? INFINITY : random < -1 ? NAN : 3 * random;
  }
  return logits;
}

// What the host's sampler makes of logits, -1 where it finds none finite.
int host_draw(Sampler& sampler, const Floats& logits) {
  try {
    return sampler.sample(logits.data()).token;
  } catch (const Error&) {
    return -1;
  }
}

// Every kind of logits and every option: the device takes what the host would, again and again.
void check_against_host(const TestBackend& backend, int vocab_size, int rounds) {
  const Model model = drawing_model(backend, vocab_size);
  for (const SamplerOptions& options : kOptions) {
    std::list<Sampler> hosts;
    std::list<Sampler> devices;
    for (uint64_t kind = 0; kind < kKinds; ++kind) {
      SamplerOptions seeded = options;
      seeded.seed = kind + 1;
      hosts.emplace_back(vocab_size, seeded);
      devices.emplace_back(vocab_size, seeded);
    }
    for (int round = 0; round < rounds; ++round) {
      std::vector<Floats> rows;
      std::vector<DrawArgs> draws;
      for (Sampler& sampler : devices) {
        rows.push_back(make_logits(int(rows.size()), vocab_size));
        draws.push_back(sampler.next_draw().value());
      }
      const std::vector<int> tokens = draw_tokens(model, rows, draws);
      auto host = hosts.begin();
      auto device = devices.begin();
      for (size_t i = 0; i < rows.size(); ++i, ++host, ++device) {
        const int expected = host_draw(*host, rows[i]);
        const auto allowed = allowed_draws(rows[i], options, draws[i].uniform);
        check(tokens[i] == expected || (allowed.size() > 1 && allowed.contains(tokens[i])),
              text(options) + ": drew " + std::to_string(tokens[i]) + ", the host " +
                  std::to_string(expected));
        if (tokens[i] >= 0) device->take(tokens[i]);
      }
    }
  }
}

// The tokens own the random numbers in shares of their probabilities: just inside both ends of each
// share a draw is that token.
void check_distribution(const TestBackend& backend, const SamplerOptions& options) {
  constexpr int kVocabSize = 300;
  const Model model = drawing_model(backend, kVocabSize);
  const Floats logits = make_logits(kSmooth, kVocabSize);
  Sampler sampler(kVocabSize, options);
  DrawArgs draw = sampler.next_draw().value();
  std::vector<DrawArgs> draws;
  std::vector<int> expected;
  double begin = 0;
  while (begin < 1 - 1e-9) {
    const int token = reference_draw(logits, options, begin + 1e-9);
    double end = 1;  // of the token's share, by bisection
    double inside = begin + 1e-9;
    while (end - inside > 1e-10) {
      const double middle = (inside + end) / 2;
      (reference_draw(logits, options, middle) == token ? inside : end) = middle;
    }
    if (end - begin > 1e-4) {
      for (double uniform : {begin + 5e-6, end - 5e-6}) {
        draw.uniform = float(uniform);
        draws.push_back(draw);
        expected.push_back(token);
      }
    }
    begin = end;
  }
  const std::vector<int> tokens =
      draw_tokens(model, std::vector<Floats>(draws.size(), logits), draws);
  check(tokens == expected, text(options) + ": the shares of the tokens");
}

// What a draw will be that comes after others.
void check_later_draws() {
  for (double temperature : {0.0, 0.8}) {
    Sampler sampler(8, options_of(temperature, 0, 1, 0));
    const float second = sampler.next_draw(1).value().uniform;
    const float third = sampler.next_draw(2).value().uniform;
    check(temperature == 0 || sampler.next_draw().value().uniform != second, "one is as another");
    sampler.take(0);
    check(sampler.next_draw().value().uniform == second, "the draw after one");
    sampler.take(0);
    check(sampler.next_draw().value().uniform == third, "the draw after two");
  }
}

void check_refusals() {
  SamplerOptions options = options_of(1, 0, 1, 0);
  options.repetition_penalty = 1.1;
  check(!Sampler(8, options).next_draw(), "a penalty needs the window");
  options.repetition_penalty = 1;
  options.presence_penalty = 0.5;
  check(!Sampler(8, options).next_draw(), "a presence penalty needs the counts");
  options.presence_penalty = 0;
  options.frequency_penalty = -0.5;
  check(!Sampler(8, options).next_draw(), "a frequency penalty needs the counts");
  options.frequency_penalty = 0;
  options.logit_bias = {{3, 1.0}};
  check(!Sampler(8, options).next_draw(), "a bias needs the logits");
  options.logit_bias.clear();
  options.logprobs = 1;
  check(!Sampler(8, options).next_draw(), "log-probabilities need the logits");
  options.logprobs = 0;
  check(!Sampler(8, options_of(101, 0, 1, 0)).next_draw(), "heat needs float64");
  Sampler sampler(8, options);
  try {
    sampler.take(-1);
    check(false, "no token is an error");
  } catch (const Error& error) {
    check(error.code == ErrorCode::kNonFiniteLogits, error.what());
  }
}

}  // namespace

void test_draws() {
  for (const TestBackend& backend : test_backends()) {
    if (!backend.is_gpu()) continue;  // the host draws
    for (int vocab_size : {1, 300, 2500, 32000}) {
      test("draws, " + backend.name + ", " + std::to_string(vocab_size) + " tokens",
           [&] { check_against_host(backend, vocab_size, vocab_size < 32000 ? 2 : 1); });
    }
    for (const auto& options : {options_of(1, 0, 1, 0), options_of(0.7, 30, 0.9, 0.01)}) {
      test("draws, " + backend.name + ", " + text(options),
           [&] { check_distribution(backend, options); });
    }
  }
  test("draws, of later tokens", check_later_draws);
  test("draws, what is left to the host", check_refusals);
}

}  // namespace openelm
