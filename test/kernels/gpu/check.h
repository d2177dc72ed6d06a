#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace openelm::test {

inline int failures = 0;

inline void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

// ‖actual - expected‖ / ‖expected‖ <= tolerance; a NaN never passes.
inline void expect_close(const float* actual, const std::vector<double>& expected, double tolerance,
                         const std::string& what) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (double(actual[i]) - expected[i]) * (double(actual[i]) - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double error = std::sqrt(difference / norm);
  if (error <= tolerance) return;
  ++failures;
  std::printf("FAILED: %s: relative error %.2e, allowed %.0e\n", what.c_str(), error, tolerance);
}

// Runs the tests of a program and returns what main() should.
template <typename Tests>
int run_tests(const Tests& tests) {
  try {
    tests();
  } catch (const std::exception& error) {
    expect(false, error.what());
  }
  std::printf("%d failures\n", failures);
  return failures > 0;
}

}  // namespace openelm::test
