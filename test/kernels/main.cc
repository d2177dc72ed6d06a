#include <cstdio>
#include <set>
#include <string>

#include "backends.h"
#include "check.h"
#include "environment.h"
#include "suites.h"

#ifdef __SANITIZE_THREAD__
// The reference count of an exception is in the C++ library, whose atomics the sanitizer cannot
// see.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}
#endif

// Runs the suites that are named, or all but those that are excluded:
// kernel-tests [--backend=cuda] [--lanes=reverse] [--without=presets] [suite...]
int main(int argc, char** argv) {
  using namespace openelm;
  const struct {
    const char* name;
    void (*run)();
  } suites[] = {
      {"half", test_half},
      {"elementwise", test_elementwise},
      {"matmul", test_matmul},
      {"attention", test_attention},
      {"quantize", test_quantize},
      {"thread-pool", test_thread_pool},
      {"load", test_load},
      {"ops", test_ops},
      {"presets", test_presets},
      {"adapted-layer", test_adapted_layer},
      {"adapters", test_adapters},
      {"models", test_models},
      {"oracle", test_oracle},
      {"draws", test_draws},
      {"drafts", test_drafts},
      {"planted", test_planted},
      {"invariance", test_invariance},
      {"scheduler", test_scheduler},
      {"stream", test_streams},
      {"scores", test_token_scores},
      {"sampler", test_sampler},
      {"constraints", test_constraints},
      {"differences", test_differences},
      {"gradients", test_gradients},
      {"gradient-tree", test_gradient_tree},
      {"sharded-step", test_sharded_step},
      {"training", test_training},
  };
  const auto unknown = [&](const std::string& what) {
    std::fprintf(stderr, "unknown: %s; the suites are", what.c_str());
    for (const auto& suite : suites) std::fprintf(stderr, " %s", suite.name);
    std::fprintf(stderr, "\n");
    return 2;
  };
  std::set<std::string> wanted;
  std::set<std::string> excluded;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = argument.substr(argument.find('=') + 1);
    if (argument.starts_with("--backend=")) {
      test_only(value);
    } else if (argument.starts_with("--lanes=")) {
      if (!set_lane_order(value)) return unknown(argument);
    } else if (argument.starts_with("--without=")) {
      excluded.insert(value);
    } else {
      wanted.insert(argument);
    }
  }
  const bool all = wanted.empty();
  for (const auto& suite : suites) {
    const bool is_excluded = excluded.erase(suite.name) > 0;
    if (all ? is_excluded : wanted.erase(suite.name) == 0) continue;
    try {
      suite.run();
    } catch (...) {
      test(suite.name, [] { throw; });
    }
  }
  wanted.merge(excluded);
  if (!wanted.empty()) return unknown(*wanted.begin());
  return failures() > 0;
}
