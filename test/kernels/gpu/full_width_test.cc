// Every op at the widths of the first and of the last layer of the four presets.

#include "op_fixture.h"

namespace openelm::test {
namespace {

struct Preset {
  const char* name;
  int model_dim;
  int head_dim;
  int kv_heads[2];  // of the first and of the last layer; four query heads share each
  int ffn_dims[2];
};

constexpr Preset kPresets[] = {
    {"270M", 1280, 64, {3, 5}, {768, 5120}},
    {"450M", 1536, 64, {3, 6}, {768, 6144}},
    {"1.1B", 2048, 64, {4, 8}, {1024, 8192}},
    {"3B", 3072, 128, {3, 6}, {1536, 12288}},
};

Config two_layers(const Preset& preset) {
  Config config;
  config.num_layers = 2;
  config.model_dim = preset.model_dim;
  config.head_dim = preset.head_dim;
  config.vocab_size = 320;
  config.max_context_length = 128;
  for (int layer = 0; layer < 2; ++layer) {
    config.num_query_heads.push_back(4 * preset.kv_heads[layer]);
    config.num_kv_heads.push_back(preset.kv_heads[layer]);
    config.ffn_dims.push_back(preset.ffn_dims[layer]);
  }
  return config;
}

void check_preset(const Preset& preset, DType dtype) {
  OpFixture fixture(two_layers(preset), dtype, preset.name);
  Session& first = fixture.new_session();
  Session& second = fixture.new_session();
  fixture.check_ops({{&first, 8}, {&second, 3}}, "prompts");
  fixture.check_ops({{&first, 1}}, "a token");
}

}  // namespace
}  // namespace openelm::test

// Arguments: the order of the lanes, and a dtype.
int main(int argc, char** argv) {
  using namespace openelm;
  using namespace openelm::test;
  set_lane_order(argc > 1 ? argv[1] : "random");
  const DType dtype = parse_dtype(argc > 2 ? argv[2] : "bfloat16");
  return run_tests([&] {
    for (const Preset& preset : kPresets) check_preset(preset, dtype);
  });
}
