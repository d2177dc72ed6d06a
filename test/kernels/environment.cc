#include "environment.h"

namespace openelm {

// Three threads are more than some ops have tasks, and more than some machines have cores.
std::unique_ptr<Backend> create_test_backend(const std::string& name, DType kv_cache_dtype) {
  return create_backend(name, 0, 3, kv_cache_dtype);
}

bool set_lane_order(const std::string&) { return false; }

}  // namespace openelm
