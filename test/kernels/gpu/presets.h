#pragma once

#include <vector>

#include "../../../native/model/config.h"
#include "../../../native/model/tensor_source.h"

namespace openelm::test {

// The released sizes.
struct Preset {
  const char* name;
  int num_layers, model_dim, head_dim;
};
constexpr Preset kPresets[] = {
    {"270M", 16, 1280, 64}, {"450M", 20, 1536, 64}, {"1.1B", 28, 2048, 64}, {"3B", 36, 3072, 128}};

// Its layers by the rule of layer-wise scaling: attention from half to all of the width, the FFN
// from half to four times it.
Config config_of(const Preset& preset);

// Every tensor of a model, without memory for it: plausible numbers from the same few megabytes, or
// zeros.
enum class Fill { kRandom, kZero };
std::vector<TensorSource> endless_tensors(const Config& config, DType dtype, Fill fill);

}  // namespace openelm::test
