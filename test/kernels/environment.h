#pragma once

#include <memory>
#include <string>

#include "backend.h"

namespace openelm {

// What the tests run on: this machine's devices, or in test/emulator the emulated ones.
std::unique_ptr<Backend> create_test_backend(const std::string& name, DType kv_cache_dtype);

// "forward", "reverse" or "random": the order in which an emulator runs the lanes of a block. False
// when there is no such choice.
bool set_lane_order(const std::string& order);

}  // namespace openelm
