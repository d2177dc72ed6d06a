#pragma once

#include "../../../native/cuda/runtime.h"

// Kernels that measure a device rather than run a model.
namespace openelm::cuda {

// Multiplies matrices in the registers of every multiprocessor. Returns the operations that takes.
double launch_matrix_probe(const Stream& stream, int multiprocessors, int rounds, float* out);

// Does nothing.
void launch_empty_kernel(const Stream& stream);

}  // namespace openelm::cuda
