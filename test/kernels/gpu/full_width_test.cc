// Every op at the widths of the first and of the last layer of the four presets.

#include "op_fixture.h"
#include "presets.h"

namespace openelm::test {
namespace {

Config two_layers(const Preset& preset) {
  Config config = config_of(preset);
  config.num_layers = 2;
  config.vocab_size = 320;
  config.max_context_length = 128;
  for (std::vector<int>* all : {&config.num_query_heads, &config.num_kv_heads, &config.ffn_dims}) {
    *all = {all->front(), all->back()};
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
