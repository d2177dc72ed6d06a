// The emulator of Metal finds the mistakes of planted.metal, and names their lines.
#include <cmath>
#include <cstdio>

#include "../block.h"
#include "runtime.h"

using emulator::Order;

static int failures = 0;

static void expect(bool holds, const char* what) {
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s\n", what);
}

// Runs a kernel with one threadgroup of 64; returns what the emulator complains about.
static std::string run(const char* name, Order order, float* to) {
  emulator::settings.order = order;
  const emulator::metal::Kernel& kernel = emulator::metal::kernels().at(name);
  void* arguments[] = {to};
  try {
    emulator::run_block(64, emulator::metal::kMaxThreadgroupMemory,
                        [&](int lane) { kernel.run({arguments, {}, {64, 1, 1}, uint32_t(lane)}); });
  } catch (const emulator::Failure& failure) {
    return failure.what();
  }
  return "";
}

static bool is_reversed(const float* values) {
  for (int i = 0; i < 64; ++i) {
    if (values[i] != float(63 - i)) return false;
  }
  return true;
}

static void expect_failure(const char* kernel, const char* text) {
  float to[64];
  const std::string said = run(kernel, Order::kForward, to);
  const bool found = said.find("planted.metal:") == 0 && said.find(text) != std::string::npos;
  if (!found) std::printf("%s: %s\n", kernel, said.c_str());
  expect(found, kernel);
}

int main() {
  float to[64];
  for (const Order order : {Order::kForward, Order::kReverse, Order::kRandom}) {
    expect(run("reverse", order, to).empty() && is_reversed(to), "a sound kernel");
    run("reverse_without_barrier", order, to);
    expect(!is_reversed(to), "a missing barrier shows in any order");
  }
  run("unwritten", Order::kForward, to);
  expect(std::isnan(to[63]) && to[62] == 63, "threadgroup memory begins as NaN");
  expect_failure("barrier_in_a_branch", "missed the barrier");
  expect_failure("shuffle_from_inactive", "lane 30 shuffles from the inactive lane 31");
  expect_failure("matrix_in_a_branch", "needs the whole simdgroup");
  expect_failure("too_much_memory", "more than 32768 bytes");
  return failures > 0;
}
