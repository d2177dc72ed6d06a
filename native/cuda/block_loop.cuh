#pragma once

#include "primitives.cuh"

namespace openelm::cuda {

// Calls visit(i) for each i below kCount once in the block, i % kThreads being the thread. The
// compiler unrolls it, as it cannot do with a loop that begins at threadIdx.x.
template <int kCount, int kThreads, typename Visit>
__device__ inline void for_each_in_block(const Visit& visit) {
#pragma unroll
  for (int first = 0; first < kCount; first += kThreads) {
    const int i = first + int(threadIdx.x);
    if (first + kThreads <= kCount || i < kCount) visit(i);
  }
}

}  // namespace openelm::cuda
