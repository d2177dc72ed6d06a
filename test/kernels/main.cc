#include <cstdio>
#include <cstring>

#include "check.h"
#include "suites.h"

#ifdef __SANITIZE_THREAD__
// The reference count of an exception is in the C++ library, whose atomics the sanitizer cannot
// see.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}
#endif

// Runs the suites that are named, or all.
int main(int argc, char** argv) {
  using namespace openelm;
  const struct {
    const char* name;
    void (*run)();
  } suites[] = {
      {"half", test_half},           {"elementwise", test_elementwise},
      {"matmul", test_matmul},       {"attention", test_attention},
      {"quantize", test_quantize},   {"thread-pool", test_thread_pool},
      {"load", test_load},           {"ops", test_ops},
      {"presets", test_presets},     {"invariance", test_invariance},
      {"scheduler", test_scheduler}, {"stream", test_streams},
      {"sampler", test_sampler},     {"gradients", test_gradients},
      {"training", test_training},
  };
  int suites_run = 0;
  for (const auto& suite : suites) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted |= std::strcmp(argv[i], suite.name) == 0;
    if (!wanted) continue;
    try {
      suite.run();
    } catch (const std::exception& error) {
      test(suite.name, [&] { throw; });
    }
    ++suites_run;
  }
  if (suites_run != (argc == 1 ? int(std::size(suites)) : argc - 1)) {
    std::fprintf(stderr, "unknown suite; there are:");
    for (const auto& suite : suites) std::fprintf(stderr, " %s", suite.name);
    std::fprintf(stderr, "\n");
    return 2;
  }
  return failures() > 0;
}
