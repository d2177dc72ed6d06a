#include "../../kernels/gpu/environment.h"

#include "../../../native/metal/metal_backend.h"
#include "../../../native/model/kv_cache.h"
#include "../block.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#endif

namespace openelm::test {

namespace {

// Memory comes in whole pages; AddressSanitizer shall see where each buffer really ends.
class GuardedMetalBackend : public metal::MetalBackend {
 public:
  explicit GuardedMetalBackend(DType kv_cache_dtype)
      : MetalBackend(mtl::device(0), kv_cache_dtype) {}
  Buffer allocate(size_t bytes) override {
    Buffer buffer = MetalBackend::allocate(bytes);
    ASAN_POISON_MEMORY_REGION(buffer.as<char>() + bytes, -bytes % 4096);
    return buffer;
  }
};

}  // namespace

std::unique_ptr<Backend> create_test_backend(DType dtype) {
  return std::make_unique<GuardedMetalBackend>(default_kv_cache_dtype("metal", dtype));
}

void set_lane_order(const std::string& order) {
  using emulator::Order;
  emulator::settings.order = order == "reverse"  ? Order::kReverse
                             : order == "random" ? Order::kRandom
                                                 : Order::kForward;
}

}  // namespace openelm::test
