#include "counted_loads.h"

#include <map>

namespace emulator::metal {

// Made when first asked for, since constructors of globals load too, and never destroyed, since
// kernels may still run when the process ends.
static std::map<uintptr_t, size_t>& ranges() {
  static auto& all = *new std::map<uintptr_t, size_t>;
  return all;
}

static uint64_t loaded = 0;

void count_loads_from(const void* memory, size_t bytes) {
  ranges()[reinterpret_cast<uintptr_t>(memory)] = bytes;
}

uint64_t loaded_bytes() { return loaded; }

void reset_loads() {
  ranges().clear();
  loaded = 0;
}

static void count(const void* address, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto after = ranges().upper_bound(at);
  if (after != ranges().begin() && at - (--after)->first < after->second) loaded += bytes;
}

}  // namespace emulator::metal

// The compiler calls these before each load.
#define COUNT(bytes) \
  extern "C" void __sanitizer_cov_load##bytes(const void* at) { emulator::metal::count(at, bytes); }
COUNT(1)
COUNT(2)
COUNT(4)
COUNT(8)
COUNT(16)
