// Weights after some steps of training are bitwise the same for any number of threads and for any
// number of sequences in a call, on every instruction set; and the two forward passes, of training
// and of inference, are one model.

#include <algorithm>
#include <cmath>

#include "check.h"
#include "fixture.h"
#include "model.h"
#include "suites.h"
#include "tensors.h"
#include "train/trainer.h"

namespace openelm {

using namespace train;

constexpr int kSequences = 3;
constexpr int kLength = 300;  // of the longest: more than one pass of a product
constexpr int kVocabSize = 301;

// Of sequences of several lengths, `most` in a call.
static std::vector<float> weights_after_steps(int threads, bool recompute, int most = kSequences,
                                              bool tied = true) {
  TrainerOptions options;
  options.config = make_config(72, 20, kVocabSize, {{4, 2, 75}, {6, 3, 300}});
  options.config.share_input_output_layers = tied;
  options.threads = threads;
  options.max_tokens = kSequences * kLength;
  options.recompute = recompute;
  const auto trainer = Trainer::create(options, false);
  auto* weights = static_cast<float*>(trainer->data(Array::kWeights));
  const size_t size = trainer->size(Array::kWeights);
  for (size_t i = 0; i < size; ++i) weights[i] = 0.1f * random_float(1, i);
  AdamWOptions adamw;
  adamw.learning_rate = 1e-2;
  for (adamw.step = 1; adamw.step <= 2; ++adamw.step) {
    for (int first = 0; first < kSequences; first += most) {
      TrainingBatch batch;
      GradientOptions gradient;
      gradient.z_loss = 1e-4;
      for (int i = first; i < std::min(first + most, kSequences); ++i) {
        const int length = kLength - 33 * i;
        batch.lengths.push_back(length);
        gradient.scales.push_back(i == 1 ? -2e-3 : 5e-3);
        for (int t = 0; t < length; ++t) {
          batch.tokens.push_back(int32_t(random_bits(adamw.step + 10 * i, t) % kVocabSize));
          batch.targets.push_back(t % 5 == i ? -1 : batch.tokens.back());
        }
      }
      trainer->accumulate(batch, gradient);
    }
    trainer->step(adamw);
  }
  return {weights, weights + size};
}

// Of a sequence's losses with one target, the logit of that target: log p + lse.
static double logit_of(Trainer& trainer, const std::vector<int32_t>& tokens, int row, int target) {
  std::vector<int32_t> targets(tokens.size(), -1);
  targets[row] = target;
  const LossSums sums = trainer.evaluate({tokens, targets, {int32_t(tokens.size())}}, true)[0];
  return std::sqrt(sums.squared_lse) - sums.cross_entropy;  // lse > 0 with so many tokens
}

// Both passes after each token of a sequence, of the same float32 weights.
static void compare_with_inference(const Config& config) {
  const std::vector<int32_t> tokens = {5, 12, 7, 7, 28, 0, 13, 3, 20};
  const std::vector<TensorSource> tensors = make_tensors(config, DType::kFloat32);
  TrainerOptions options;
  options.config = config;
  options.max_tokens = int(tokens.size());
  const auto trainer = Trainer::create(options, true);
  auto* parameter = static_cast<double*>(trainer->data(Array::kWeights));
  for (const TensorSource& tensor : tensors) {
    const std::vector<float> values = read_floats(tensor);
    parameter = std::copy(values.begin(), values.end(), parameter);
  }
  const Model model(test_backend("cpu"), config, DType::kFloat32, tensors, 1);
  ModelRun run(model);
  for (size_t row = 0; row < tokens.size(); ++row) {
    const float* logits = run.append(0, {tokens[row]});
    Row trained;
    for (int id = 0; id < config.vocab_size; ++id) {
      trained.push_back(logit_of(*trainer, tokens, int(row), id));
    }
    check_at_most(relative_error(Row(logits, logits + config.vocab_size), trained), 1e-5,
                  "position " + std::to_string(row));
  }
}

void test_training() {
  test("training computes the logits of inference", [] {
    compare_with_inference(make_config(44, 10, 29, {{4, 2, 75}, {6, 3, 32}}));
    Config plain = make_config(40, 8, 29, {{3, 3, 33}, {4, 1, 40}});
    plain.ffn_with_glu = false;
    plain.normalize_qk_projections = false;
    plain.share_input_output_layers = false;
    compare_with_inference(plain);
  });
  test(std::string("training is bitwise the same, ") + kernels<float>().name, [] {
    const std::vector<float> expected = weights_after_steps(1, false);
    for (int threads : {2, 3, 7}) {
      check(weights_after_steps(threads, false) == expected, std::to_string(threads) + " threads");
    }
    check(weights_after_steps(2, true) == expected, "recomputed");
    // A tied matrix adds up what it gets as head and then what it gets as embedding, call by call.
    const std::vector<float> untied = weights_after_steps(1, false, kSequences, false);
    for (int most : {1, 2}) {
      const std::string name = std::to_string(most) + " sequences in a call";
      check(weights_after_steps(2, false, most, false) == untied, name);
    }
  });
}

}  // namespace openelm
