#pragma once

#include <functional>
#include <string>
#include <vector>

#include "train/workers.h"

namespace openelm {

template <typename T>
using Arrays = std::vector<std::vector<T>>;

// What an op of training does with the gradient by one of its inputs.
enum class Gradient { kOverwrites, kAdds };

struct OpInput {
  size_t size;
  Gradient gradient = Gradient::kAdds;
};

// An op and its gradient, in the words of calculus: y = forward(inputs), and backward() turns the
// gradient by y into the ones by the inputs.
template <typename T>
struct DifferentiableOp {
  std::vector<OpInput> inputs;
  std::function<std::vector<T>(train::Workers<T>&, const Arrays<T>& inputs)> forward;
  std::function<void(train::Workers<T>&, const Arrays<T>& inputs, const std::vector<T>& dy,
                     Arrays<T>& dinputs)>
      backward;
};

// Checks the float64 op against central differences, element by element.
void test_differences_of(const std::string& name, const DifferentiableOp<double>&);

// Checks the float32 op, on this processor's kernels, against the float64 one.
void test_gradients_of(const std::string& name, const DifferentiableOp<double>&,
                       const DifferentiableOp<float>&);

}  // namespace openelm
