// Every op in every dtype, decoding and prefilling, against the oracle, on whatever backend is
// linked.

#include "op_fixture.h"

namespace openelm::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8,
                             DType::kQ4};

// Widths that no tile divides, group sizes from 1 to 5, and a head dimension for each kernel.
std::vector<Config> uneven_configs() {
  Config narrow;
  narrow.num_layers = 2;
  narrow.model_dim = 76;
  narrow.head_dim = 18;
  narrow.vocab_size = 83;
  narrow.max_context_length = 256;
  narrow.num_query_heads = {3, 4};
  narrow.num_kv_heads = {3, 2};
  narrow.ffn_dims = {37, 150};
  narrow.share_input_output_layers = false;

  Config middle;
  middle.num_layers = 2;
  middle.model_dim = 328;
  middle.head_dim = 64;
  middle.vocab_size = 131;
  middle.max_context_length = 256;
  middle.num_query_heads = {4, 5};
  middle.num_kv_heads = {1, 1};
  middle.ffn_dims = {264, 71};
  middle.ffn_with_glu = false;

  Config wide = middle;
  wide.num_layers = 1;
  wide.head_dim = 128;
  wide.num_query_heads = {6};
  wide.num_kv_heads = {2};
  wide.ffn_dims = {90};
  wide.ffn_with_glu = true;
  wide.normalize_qk_projections = false;

  Config widest = wide;
  widest.head_dim = 140;
  widest.num_query_heads = {2};
  widest.num_kv_heads = {2};
  return {narrow, middle, wide, widest};
}

void check_all_ops(const Config& config, DType dtype, const std::string& name, int prompt) {
  OpFixture fixture(config, dtype, name);
  Session& first = fixture.new_session();
  Session& second = fixture.new_session();
  fixture.check_ops({{&first, 1}}, "first token");
  fixture.check_ops({{&first, prompt}, {&second, 5}}, "prompts of two sessions");
  fixture.check_ops({{&first, 1}}, "next token");
  fixture.check_ops({{&first, 1}, {&second, 1}}, "tokens of two sessions");
  fixture.check_ops({{&second, 9}, {&first, 1}}, "a prompt and a token");
}

}  // namespace
}  // namespace openelm::test

int main(int argc, char** argv) {
  using namespace openelm;
  using namespace openelm::test;
  set_lane_order(argc > 1 ? argv[1] : "forward");
  return run_tests([] {
    for (const Config& config : uneven_configs()) {
      for (DType dtype : kDTypes) {
        check_all_ops(config, dtype, "head_dim " + std::to_string(config.head_dim), 75);
      }
    }
  });
}
