// The emulator catches what it is there to catch.

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>

#include "../../kernels/check.h"
#include "../block.h"
#include "planted.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

namespace openelm::cuda {
namespace {

using openelm::check;

struct Arrays {
  Stream stream{false};
  Stream overlapping{true};
  std::shared_ptr<void> in_memory = allocate_device(4 * kPlantedThreads * sizeof(float));
  std::shared_ptr<void> out_memory = allocate_device(kPlantedThreads * sizeof(float));
  float* in = static_cast<float*>(in_memory.get());
  float* out = static_cast<float*>(out_memory.get());
};

// True when the results are right in every order of the lanes.
bool right_in_every_order(const std::function<void(Arrays&)>& run,
                          const std::function<float(int)>& expected) {
  using emulator::Order;
  bool right = true;
  for (Order order : {Order::kForward, Order::kReverse, Order::kRandom}) {
    emulator::settings.order = order;
    Arrays arrays;
    run(arrays);
    for (int i = 0; i < kPlantedThreads; ++i) right &= arrays.out[i] == expected(i);
  }
  emulator::settings.order = Order::kForward;
  return right;
}

void expect_failure(const std::function<void(Arrays&)>& run, const std::string& message) {
  Arrays arrays;
  try {
    run(arrays);
    check(false, "no failure: " + message);
  } catch (const emulator::Failure& failure) {
    const std::string what = failure.what();
    check(what.find(message) != std::string::npos, what + " does not say: " + message);
    const bool names_line =
        what.find("planted.cu:") == 0 || message.find("never waits") != std::string::npos;
    check(names_line, what + " names no line");
  }
}

void check_races() {
  const auto reversed = [](int i) { return float(kPlantedThreads - 1 - i); };
  check(!right_in_every_order([](Arrays& a) { missing_barrier(a.stream, a.out); }, reversed),
        "a missing barrier shows");
  check(!right_in_every_order([](Arrays& a) { missing_second_barrier(a.stream, a.out); },
                              [](int) { return 1.0f; }),
        "a missing barrier before shared memory is written again shows");
  check(!right_in_every_order([](Arrays& a) { missing_copy_wait(a.stream, a.in, a.out); },
                              [](int) { return 0.0f; }),
        "a missing wait for an asynchronous copy shows");
  const auto counted = [](int i) { return float(i); };
  check(right_in_every_order([](Arrays& a) { read_before_wait(a.stream, a.in, a.out); }, counted),
        "where kernels do not overlap none has to wait for another");
  for (int i = 0; i < 3; ++i) {
    emulator::settings.order = emulator::Order(i);
    Arrays arrays;
    read_before_wait(arrays.overlapping, arrays.in, arrays.out);
    for (int lane = 0; lane < kPlantedThreads; ++lane) {
      check(std::isnan(arrays.out[lane]), "what is read before the wait is poison");
    }
  }
  emulator::settings.order = emulator::Order::kForward;
}

void check_failures() {
  expect_failure([](Arrays& a) { inactive_lane_shuffle(a.stream, a.out); },
                 "shuffles from lane 16, which is not active");
  expect_failure([](Arrays& a) { absent_lane_in_mask(a.stream, a.out); },
                 "the mask names lanes 16, 17, 18, 19, 20, 21, 22, 23, ..., absent here");
  expect_failure([](Arrays& a) { barrier_in_a_branch(a.stream, a.out); },
                 "lanes 40, 41, 42, 43, 44, 45, 46, 47, ... missed the barrier");
  expect_failure([](Arrays& a) { too_much_shared_memory(a.stream, a.out); },
                 "bytes of shared memory");
  expect_failure([](Arrays& a) { misaligned_copy(a.stream, a.in, a.out); }, "is not aligned");
  expect_failure([](Arrays& a) { no_wait_for_previous_kernel(a.stream, a.out); },
                 "a lane never waits for the kernel before it");
}

// AddressSanitizer ends the process, so a child runs the kernel. Says nothing without it.
void check_out_of_bounds() {
#ifdef HAS_ASAN
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    Arrays arrays;
    const auto small = allocate_device(kPlantedThreads * sizeof(float));
    read_out_of_bounds(arrays.stream, static_cast<const float*>(small.get()), arrays.out);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  check(!WIFEXITED(status) || WEXITSTATUS(status) != 0, "a read out of bounds is reported");
#endif
}

}  // namespace
}  // namespace openelm::cuda

int main() {
  using namespace openelm;
  test("races show", cuda::check_races);
  test("mistakes fail and name their line", cuda::check_failures);
  test("a read out of bounds is reported", cuda::check_out_of_bounds);
  return failures() > 0;
}
