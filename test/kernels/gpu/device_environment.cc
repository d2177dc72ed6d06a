#include "../../../native/cuda/cuda.h"
#include "../../../native/model/kv_cache.h"
#include "environment.h"

namespace openelm::test {

std::unique_ptr<Backend> create_test_backend(DType dtype) {
  return create_cuda_backend(0, default_kv_cache_dtype("cuda", dtype));
}

void set_lane_order(const std::string&) {}

}  // namespace openelm::test
