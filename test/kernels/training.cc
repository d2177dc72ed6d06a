// Weights after some steps of training are bitwise the same for any number of threads, on every
// instruction set.

#include "check.h"
#include "model.h"
#include "suites.h"
#include "tensors.h"
#include "train/trainer.h"

namespace openelm {

using namespace train;

constexpr int kSequences = 3;
constexpr int kLength = 70;
constexpr int kVocabSize = 301;

static std::vector<float> weights_after_steps(int threads, bool recompute) {
  TrainerOptions options;
  options.config = make_config(72, 20, kVocabSize, {{4, 2, 75}, {6, 3, 300}});
  options.threads = threads;
  options.max_sequences = kSequences;
  options.sequence_length = kLength;
  options.recompute = recompute;
  const auto trainer = Trainer::create(options, false);
  auto* weights = static_cast<float*>(trainer->data(Array::kWeights));
  for (size_t i = 0; i < trainer->num_parameters(); ++i) weights[i] = 0.1f * random_float(1, i);
  AdamWOptions adamw;
  adamw.learning_rate = 1e-2;
  for (adamw.step = 1; adamw.step <= 3; ++adamw.step) {
    std::vector<int32_t> tokens(kSequences * kLength);
    for (size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = int32_t(random_bits(adamw.step, i) % kVocabSize);
    }
    trainer->accumulate(tokens.data(), tokens.data(), kSequences, 1.0 / tokens.size(), 1e-4);
    trainer->step(adamw);
  }
  return {weights, weights + trainer->num_parameters()};
}

void test_training() {
  test(std::string("training is bitwise the same, ") + kernels<float>().name, [] {
    const std::vector<float> expected = weights_after_steps(1, false);
    for (int threads : {2, 3, 7}) {
      check(weights_after_steps(threads, false) == expected, std::to_string(threads) + " threads");
    }
    check(weights_after_steps(2, true) == expected, "recomputed");
  });
}

}  // namespace openelm
