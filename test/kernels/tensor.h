#pragma once

#include <random>
#include <string>
#include <vector>

#include "../../native/model/weights.h"

namespace openelm {

// A tensor as a checkpoint in memory stores it, and as the numbers that this means.
struct Tensor {
  TensorSource source;
  std::vector<double> values;  // [rows, cols]
};

// Uniform in offset ± scale, then rounded to `dtype`.
Tensor random_tensor(const std::string& name, int rows, int cols, DType dtype, float offset,
                     float scale, std::mt19937& random);

// A float32 vector.
TensorSource vector_source(const std::vector<float>& values);

}  // namespace openelm
