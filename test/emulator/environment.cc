#include "../kernels/environment.h"

#include "../../native/metal/metal_backend.h"
#include "block.h"
#include "cuda/mock_runtime.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#endif

namespace openelm {

namespace {

// Memory comes in whole pages; AddressSanitizer shall see where each buffer really ends.
class GuardedMetalBackend : public metal::MetalBackend {
 public:
  explicit GuardedMetalBackend(DType kv_cache_dtype)
      : MetalBackend(mtl::devices().at(0), kv_cache_dtype) {}
  Buffer allocate(size_t bytes) override {
    Buffer buffer = MetalBackend::allocate(bytes);
    ASAN_POISON_MEMORY_REGION(buffer.as<char>() + bytes, -bytes % 4096);
    return buffer;
  }
};

}  // namespace

std::unique_ptr<Backend> create_test_backend(const std::string& name, DType kv_cache_dtype) {
  if (name == "metal") return std::make_unique<GuardedMetalBackend>(kv_cache_dtype);
  // So few that small matrices already fill the device, which is when the kernels take large tiles.
  if (name == "cuda") emulator::cuda::machine.multiprocessors = 2;
  return create_backend(name, 0, 3, kv_cache_dtype);
}

bool set_lane_order(const std::string& order) {
  using emulator::Order;
  emulator::settings.order = order == "reverse"  ? Order::kReverse
                             : order == "random" ? Order::kRandom
                                                 : Order::kForward;
  return order == "forward" || order == "reverse" || order == "random";
}

}  // namespace openelm
