#include <algorithm>
#include <cmath>

#include "check.h"
#include "gradients.h"
#include "tensors.h"

namespace openelm {

using train::Workers;

// Of larger inputs only so many elements are tried.
constexpr size_t kMostElements = 400;

constexpr uint64_t kSeedOfDy = 99;

template <typename T>
static std::vector<T> random_array(uint64_t seed, size_t size) {
  const std::vector<float> values = random_floats(seed, size);
  return {values.begin(), values.end()};
}

template <typename T>
static Arrays<T> random_inputs(const DifferentiableOp<T>& op) {
  Arrays<T> inputs;
  for (const OpInput& input : op.inputs) {
    inputs.push_back(random_array<T>(inputs.size(), input.size));
  }
  return inputs;
}

// The gradients of the sum of dy * y. What an op promises to overwrite begins as NaN, and what it
// promises to add to begins as 1.
template <typename T>
static Arrays<T> gradients_of(Workers<T>& workers, const DifferentiableOp<T>& op,
                              const Arrays<T>& inputs, const std::vector<T>& dy) {
  Arrays<T> gradients;
  for (const OpInput& input : op.inputs) {
    const bool adds = input.gradient == Gradient::kAdds;
    gradients.emplace_back(input.size, adds ? T(1) : T(NAN));
  }
  op.backward(workers, inputs, dy, gradients);
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (op.inputs[i].gradient != Gradient::kAdds) continue;
    for (T& gradient : gradients[i]) gradient -= 1;
  }
  return gradients;
}

// The slope of the sum of dy * y along one element of an input, by Richardson's extrapolation of
// central differences: an error of the fourth order remains.
static double slope(Workers<double>& workers, const DifferentiableOp<double>& op,
                    Arrays<double>& inputs, double& element, const std::vector<double>& dy) {
  const double middle = element;
  const auto at = [&](double x) {
    element = x;
    const std::vector<double> y = op.forward(workers, inputs);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    return sum;
  };
  constexpr double h = 1e-3;
  const double wide = (at(middle + h) - at(middle - h)) / (2 * h);
  const double narrow = (at(middle + h / 2) - at(middle - h / 2)) / h;
  element = middle;
  return (4 * narrow - wide) / 3;
}

static double largest(const std::vector<double>& values) {
  double result = 0;
  for (double value : values) result = std::max(result, std::fabs(value));
  return result;
}

static void compare_with_differences(const DifferentiableOp<double>& op) {
  const std::atomic<bool> cancelled{false};
  Workers<double> workers(2, cancelled);
  Arrays<double> inputs = random_inputs(op);
  const auto dy = random_array<double>(kSeedOfDy, op.forward(workers, inputs).size());
  const Arrays<double> gradients = gradients_of(workers, op, inputs, dy);
  double worst = 0;
  for (size_t input = 0; input < inputs.size(); ++input) {
    const size_t size = inputs[input].size();
    const double negligible = 1e-3 * largest(gradients[input]);
    for (size_t i = 0; i < size; i += (size + kMostElements - 1) / kMostElements) {
      const double want = slope(workers, op, inputs, inputs[input][i], dy);
      const double error =
          std::fabs(gradients[input][i] - want) / std::max(std::fabs(want), negligible);
      check_at_most(error, 1e-6, "input " + std::to_string(input) + "[" + std::to_string(i) + "]");
      worst = std::max(worst, error);
    }
  }
  note(short_number(worst));
}

static void compare_with_float64(const DifferentiableOp<float>& op,
                                 const DifferentiableOp<double>& exact) {
  const std::atomic<bool> cancelled{false};
  Workers<float> workers(2, cancelled);
  Workers<double> exact_workers(2, cancelled);
  const Arrays<float> inputs = random_inputs(op);
  const Arrays<double> exact_inputs = random_inputs(exact);
  const auto y = op.forward(workers, inputs);
  const auto exact_y = exact.forward(exact_workers, exact_inputs);
  Arrays<float> results =
      gradients_of(workers, op, inputs, random_array<float>(kSeedOfDy, y.size()));
  Arrays<double> expected =
      gradients_of(exact_workers, exact, exact_inputs, random_array<double>(kSeedOfDy, y.size()));
  results.push_back(y);
  expected.push_back(exact_y);
  double worst = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const double scale = largest(expected[i]);
    for (size_t j = 0; j < results[i].size(); ++j) {
      const double error = std::fabs(results[i][j] - expected[i][j]) / scale;
      check_at_most(error, 1e-5, "array " + std::to_string(i) + "[" + std::to_string(j) + "]");
      worst = std::max(worst, error);
    }
  }
  note(short_number(worst));
}

void test_differences_of(const std::string& name, const DifferentiableOp<double>& exact) {
  test("gradient of " + name + ", float64", [&] { compare_with_differences(exact); });
}

void test_gradients_of(const std::string& name, const DifferentiableOp<double>& exact,
                       const DifferentiableOp<float>& single) {
  test(std::string("gradient of ") + name + ", float32, " + train::kernels<float>().name,
       [&] { compare_with_float64(single, exact); });
}

}  // namespace openelm
