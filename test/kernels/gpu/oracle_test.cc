// Whole models in float32, and the C++ oracle, against logits that the TypeScript oracle wrote to a
// file: test/helpers/oracle-file.ts. The argument is its path.

#include <fstream>

#include "model_fixture.h"

namespace openelm::test {
namespace {

struct Case {
  Config config;
  std::vector<int> tokens;
  Row logits;  // after the last token
};

bool read_case(std::istream& file, Case& one) {
  Config& config = one.config;
  if (!(file >> config.num_layers)) return false;
  file >> config.model_dim >> config.head_dim >> config.vocab_size >> config.ffn_with_glu >>
      config.normalize_qk_projections >> config.share_input_output_layers;
  config.max_context_length = 256;
  for (int i = 0; i < config.num_layers; ++i) {
    file >> config.num_query_heads.emplace_back() >> config.num_kv_heads.emplace_back() >>
        config.ffn_dims.emplace_back();
  }
  size_t count = 0;
  file >> count;
  one.tokens.resize(count);
  for (int& token : one.tokens) file >> token;
  one.logits.resize(size_t(config.vocab_size));
  for (double& logit : one.logits) file >> logit;
  return bool(file);
}

void check_case(const Case& one, uint32_t seed) {
  const std::string name = "case " + std::to_string(seed);
  seed_random(seed);
  Model model(one.config, DType::kFloat32);
  Session session = model.new_session();
  const Row expected = model.expected(session, one.tokens);
  const std::vector<float> rounded(expected.begin(), expected.end());
  expect_close(rounded.data(), one.logits, 1e-6, name + ": the oracle in C++");
  expect_close(model.append(session, one.tokens), one.logits, 1e-5, name + ": a prompt");

  Session stepped = model.new_session();
  const float* logits = nullptr;
  for (int token : one.tokens) logits = model.append(stepped, {token});
  expect_close(logits, one.logits, 1e-5, name + ": token by token");
}

}  // namespace
}  // namespace openelm::test

int main(int argc, char** argv) {
  using namespace openelm::test;
  return run_tests([&] {
    std::ifstream file(argc > 1 ? argv[1] : "");
    uint32_t cases = 0;
    for (Case one; read_case(file, one); one = Case()) check_case(one, ++cases);
    expect(cases > 0, "the file of the oracle has no cases");
  });
}
