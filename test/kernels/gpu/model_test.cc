// Whole models, prompts and steps of several sessions by turns, against the oracle.

#include "../../../native/error.h"
#include "model_fixture.h"

namespace openelm::test {
namespace {

// Two sessions by turns, prompts between steps, a rewind, and an abort in the middle of a capture.
void check_sessions(DType dtype, double tolerance) {
  const std::string name = name_of(dtype);
  Model model(small_config(), dtype);
  Session first = model.new_session();
  Session second = model.new_session();
  model.check(first, {5}, tolerance, name + ": the first token");
  model.check(first, some_tokens(20), tolerance, name + ": a prompt");
  const std::atomic<bool> cancelled{true};
  try {
    model.append(first, {1}, cancelled);
    expect(false, name + ": an aborted step throws");
  } catch (const Error& error) {
    expect(error.code == ErrorCode::kAborted, name + ": an aborted step is an abort");
  }
  model.check(first, {7}, tolerance, name + ": a step after an aborted one");
  model.check(first, {8}, tolerance, name + ": a step that is replayed");
  model.check(second, {9}, tolerance, name + ": a step of another session");
  model.check(first, {10}, tolerance, name + ": a step of the first session again");
  for (int token : {20, 21, 22}) model.check_draw(first, token, name + ": a token drawn");
  model.check(first, {23}, tolerance, name + ": a step after tokens drawn");
  model.check_draw(first, 24, name + ": a token drawn after a step");
  model.check_draw(second, 25, name + ": a token drawn in another session");
  model.check(second, some_tokens(3), tolerance, name + ": a prompt of the second session");
  model.check(second, {11}, tolerance, name + ": a step after the prompt");

  first.position -= 2;
  for (HostCache& cache : first.layers) {
    cache.k.resize(size_t(first.position));
    cache.v.resize(size_t(first.position));
  }
  model.check(first, {12}, tolerance, name + ": a step after a rewind");

  // A second decoder has activations of its own, which the graph does not know.
  model.decoder = std::make_unique<Decoder>(*model.backend, model.weights, 64);
  model.check(first, {13}, tolerance, name + ": a step of another decoder");
  model.decoder = std::make_unique<Decoder>(*model.backend, model.weights, 64);
  model.check(first, {14, 15}, tolerance, name + ": a prompt of a third decoder");
  model.check(first, {16}, tolerance, name + ": a step of a third decoder");
}

}  // namespace
}  // namespace openelm::test

int main() {
  using namespace openelm;
  using namespace openelm::test;
  return run_tests([] {
    check_sessions(DType::kFloat32, 1e-5);
    check_sessions(DType::kFloat16, 1e-2);
    check_sessions(DType::kBFloat16, 2e-2);
    check_sessions(DType::kQ8, 1e-2);
    check_sessions(DType::kQ4, 1e-2);
  });
}
