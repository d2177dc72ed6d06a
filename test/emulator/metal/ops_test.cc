// Every op of the Metal backend against float64: each dtype, both phases, three orders of lanes.
#include <cstdio>

#include "../../../native/metal/backend.h"
#include "../../kernels/check_ops.h"
#include "../block.h"

using namespace openelm;

static int check_all(emulator::Order order, const char* order_name) {
  emulator::settings.order = order;
  int failures = 0;
  for (const char* dtype : {"float32", "float16", "bfloat16", "q8", "q4"}) {
    Tolerances tolerances;
    // Keys and values are halves then.
    if (parse_dtype(dtype) != DType::kFloat32) tolerances.attention = 5e-3;
    for (const Config& config : uneven_shapes()) {
      try {
        check_ops(std::make_shared<MetalBackend>(0), config, parse_dtype(dtype), usual_batches(),
                  tolerances);
      } catch (const std::exception& error) {
        std::printf("%s, %s order, head_dim %d: %s\n", dtype, order_name, config.head_dim,
                    error.what());
        ++failures;
      }
    }
  }
  return failures;
}

int main() {
  const int failures = check_all(emulator::Order::kForward, "forward") +
                       check_all(emulator::Order::kReverse, "reverse") +
                       check_all(emulator::Order::kRandom, "random");
  return failures > 0;
}
