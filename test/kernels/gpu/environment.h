#pragma once

#include <memory>
#include <string>

#include "../../../native/backend.h"

// What the kernel tests run on: a device, or the emulator. One of several files defines these.
namespace openelm::test {

// Its KV cache holds what default_kv_cache_dtype() says for weights of `dtype`.
std::unique_ptr<Backend> create_test_backend(DType dtype);

// "forward", "reverse" or "random"; a device has no choice.
void set_lane_order(const std::string& order);

}  // namespace openelm::test
