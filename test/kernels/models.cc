// Whole models on every backend, against the oracle.

#include <cmath>
#include <fstream>

#include "check.h"
#include "error.h"
#include "fixture.h"
#include "model.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

Config small_config() { return make_config(256, 64, 512, {{4, 1, 256}, {8, 2, 512}, {8, 2, 768}}); }

std::vector<int> some_tokens(int count) {
  std::vector<int> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 37 + 11) % 512);
  return tokens;
}

// Two sessions by turns, prompts between steps, a rewind, a fork, and an abort of a step, which on
// a GPU may be one that is being recorded.
void check_sessions(const TestBackend& backend, DType dtype) {
  const Config config = small_config();
  const Model model(backend, config, dtype, make_tensors(config, DType::kFloat32, dtype));
  ModelRun run(model);
  run.compare(0, {5}, "the first token");
  run.compare(0, some_tokens(20), "a prompt");
  const std::atomic<bool> cancelled{true};
  bool aborted = false;
  try {
    run.run(0, {1}, {}, cancelled);
  } catch (const Error& error) {
    aborted = error.code == ErrorCode::kAborted;
  }
  check(aborted, "a cancelled step is an abort");
  run.compare(0, {7}, "a step after an aborted one");
  run.compare(0, {8}, "a step that is replayed");
  run.compare(1, {9}, "a step of another session");
  run.compare(0, {10}, "a step of the first session again");
  for (int token : {20, 21, 22}) run.compare_draw(0, token, "a token drawn");
  run.compare(0, {23}, "a step after tokens drawn");
  run.compare_draw(0, 24, "a token drawn after a step");
  run.compare_draw(1, 25, "a token drawn in another session");
  run.compare(1, some_tokens(3), "a prompt of the second session");
  run.compare(1, {11}, "a step after the prompt");
  run.rewind(0, run.session(0).position - 2);
  run.compare(0, {12}, "a step after a rewind");
  run.fork(0, 2);
  run.compare(2, {13}, "a step of a copy");
  run.renew_decoder();
  run.compare(0, {13}, "a step of another decoder");
  run.renew_decoder();
  run.compare(0, {14, 15}, "a prompt of a third decoder");
  run.compare(0, {16}, "a step of a third decoder");
}

// So long that attention splits the positions.
void check_long_session(const TestBackend& backend, DType dtype) {
  const Config config = make_config(96, 16, 128, {{4, 1, 64}, {8, 2, 96}});
  const Model model(backend, config, dtype, make_tensors(config, dtype));
  ModelRun run(model);
  for (int i = 0; i < 7; ++i) run.compare(0, std::vector<int>(40, 17 * i), "a prompt in chunks");
  for (int token = 0; token < 8; ++token) run.compare(0, {token}, "a token late in a session");
  run.compare(0, {1, 2}, "two tokens late in a session");
}

// Models whose values float16 does not hold, unless they are clamped.
void check_finite(const TestBackend& backend, DType dtype) {
  const Config config = make_config(72, 20, 301, {{4, 2, 75}, {6, 3, 768}});
  std::vector<TensorSource> tensors = make_tensors(config, DType::kFloat32);
  enlarge_values(config, tensors);
  const Model model(backend, config, dtype, tensors, 1);
  ModelRun run(model);
  for (const std::vector<int>& tokens : {std::vector<int>{1}, some_tokens(7), {2}, {3}}) {
    const float* logits = run.append(0, tokens);
    for (int i = 0; i < config.vocab_size; ++i) {
      check(std::isfinite(logits[i]), "logit " + std::to_string(i) + " is not finite");
    }
  }
}

struct Case {
  Config config;
  std::vector<int> tokens;
  Row logits;  // after the last token
};

bool read_case(std::istream& file, Case& one) {
  int num_layers, model_dim, head_dim, vocab_size;
  bool glu, norms, shared;
  if (!(file >> num_layers >> model_dim >> head_dim >> vocab_size >> glu >> norms >> shared)) {
    return false;
  }
  std::vector<LayerShape> layers(num_layers);
  for (LayerShape& layer : layers) {
    file >> layer.num_query_heads >> layer.num_kv_heads >> layer.ffn_dim;
  }
  one.config = make_config(model_dim, head_dim, vocab_size, layers);
  one.config.ffn_with_glu = glu;
  one.config.normalize_qk_projections = norms;
  one.config.share_input_output_layers = shared;
  size_t count = 0;
  file >> count;
  one.tokens.resize(count);
  for (int& token : one.tokens) file >> token;
  one.logits.resize(vocab_size);
  for (double& logit : one.logits) file >> logit;
  return bool(file);
}

}  // namespace

void test_models() {
  for (const TestBackend& backend : test_backends()) {
    for (DType dtype : backend.dtypes()) {
      const std::string name = backend.name + ", " + dtype_name(dtype);
      test("sessions, " + name, [&] { check_sessions(backend, dtype); });
      test("a long session, " + name, [&] { check_long_session(backend, dtype); });
      test("values beyond float16 in a model, " + name, [&] { check_finite(backend, dtype); });
    }
  }
}

// The oracle, and every backend, against logits of the oracle in TypeScript
// (test/helpers/oracle-file.ts).
void test_oracle() {
  std::ifstream file(TEST_DATA "/oracle-logits.txt");
  int cases = 0;
  for (Case one; read_case(file, one); one = Case()) {
    const std::string name = "the oracle in TypeScript, model " + std::to_string(++cases);
    const auto tensors = make_tensors(one.config, DType::kFloat32);
    test(name, [&] {
      const Reference reference(one.config, tensors, DType::kFloat32, false, INT_MAX);
      ReferenceSession session = reference.new_session();
      Row logits;
      for (int token : one.tokens) logits = reference.forward(token, session);
      check_at_most(relative_error(logits, one.logits), 1e-6, "the relative error");
    });
    for (const TestBackend& backend : test_backends()) {
      if (backend.backend_class == BackendClass::kCpuFloat16Cache) continue;
      test(name + ", " + backend.name, [&] {
        const Model model(backend, one.config, DType::kFloat32, tensors, 1);
        ModelRun run(model);
        const auto error = [&](const float* logits) {
          return relative_error(Row(logits, logits + one.config.vocab_size), one.logits);
        };
        check_at_most(error(run.append(0, one.tokens)), 1e-5, "a prompt");
        const float* logits = nullptr;
        for (int token : one.tokens) logits = run.append(1, {token});
        check_at_most(error(logits), 1e-5, "token by token");
      });
    }
  }
  test("the file of the oracle", [&] { check(cases > 0, "it has no cases"); });
}

}  // namespace openelm
