#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "../machine.h"

// The CUDA runtime on the CPU, linked in place of cudart: device memory is the host's, poisoned;
// work waits in its stream until something waits for it, so that a missing wait shows; a captured
// graph is replayed.
namespace emulator::cuda {

// What the runtime was asked for since the program began. Tests look at differences.
struct Counters {
  uint64_t kernels = 0;  // run, in graphs or alone
  uint64_t graphs = 0;   // launched
  uint64_t allocations = 0;
  uint64_t live_bytes = 0;    // of device memory
  uint64_t copied_bytes = 0;  // between host and device
  uint64_t loaded_bytes = 0;  // by load_streaming() and load_scale_if(): weights, keys and values
};
inline Counters counters;

// The launches that have run since a test cleared them.
struct Launched {
  size_t blocks;
  int lanes;              // of a block
  uint64_t loaded_bytes;  // as above
  uint64_t early_bytes;   // of them, before the wait
};
inline auto& launches = *new std::vector<Launched>;  // never destroyed: kernels may still run

// What the machine is like, and what is to go wrong. machine.h says it from outside.
struct Machine {
  // What cudaGetDeviceCount answers.
  cudaError_t missing = machine_has_gpu("cuda") ? cudaSuccess : cudaErrorNoDevice;
  int compute_capability = 90;
  int first_capability = 0;  // of a device ahead of the one that is emulated, if there is one
  int multiprocessors = 4;   // few, so that small grids already take more than one round
  size_t memory = is_faulty("memory") ? size_t(1) << 16 : size_t(64) << 30;
  bool fails_to_start = is_faulty("driver");
  int fail_launch_after = -1;  // launches until one fails; never when negative
  bool captures = true;        // streams into graphs
  bool instantiates = true;    // graphs
  bool runs_kernels = true;    // or only counts them
  // Fresh memory is zero, in place of poison, and takes none of the host's until something else is
  // written: so a model of zeros may be larger than the host.
  bool sparse = false;
};
inline Machine machine;

// The device memory that is not weights, which are all that is copied there in rows.
void for_each_changing(const std::function<void(char* memory, size_t bytes)>& visit);

// Puts work into a stream, or into the graph that it captures.
void enqueue(cudaStream_t stream, std::function<void()> work);

// What a block of the kernel may have of shared memory, static and dynamic together.
size_t shared_limit(const void* kernel);

// Checks a launch as the driver would.
cudaError_t check_launch(const void* kernel, dim3 grid, int block, size_t shared_bytes);

}  // namespace emulator::cuda
