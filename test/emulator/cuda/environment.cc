#include "../../kernels/gpu/environment.h"

#include "../../../native/cuda/cuda.h"
#include "../../../native/model/kv_cache.h"
#include "../block.h"
#include "mock_runtime.h"

namespace openelm::test {

std::unique_ptr<Backend> create_test_backend(DType dtype) {
  // So few that small matrices already fill the device, which is when the kernels take large tiles.
  emulator::cuda::machine.multiprocessors = 2;
  return create_cuda_backend(0, default_kv_cache_dtype("cuda", dtype));
}

void set_lane_order(const std::string& order) {
  using emulator::Order;
  emulator::settings.order = order == "reverse"  ? Order::kReverse
                             : order == "random" ? Order::kRandom
                                                 : Order::kForward;
}

}  // namespace openelm::test
