#include "../../../native/cuda/cuda.h"
#include "environment.h"

namespace openelm::test {

std::unique_ptr<Backend> create_test_backend() { return create_cuda_backend(0); }

void set_lane_order(const std::string&) {}

}  // namespace openelm::test
