#pragma once

#include "../../../native/cuda/runtime.h"

// Kernels with a mistake each, for the emulator to catch. `out` has kPlantedThreads elements.
namespace openelm::cuda {

constexpr int kPlantedThreads = 64;

void missing_barrier(const Stream& stream, float* out);  // right result: thread 63 - i's number
void missing_second_barrier(const Stream& stream, float* out);              // right result: 1
void missing_copy_wait(const Stream& stream, const float* in, float* out);  // right result: in
void read_before_wait(const Stream& stream, float* numbers, float* out);    // right result: i
void inactive_lane_shuffle(const Stream& stream, float* out);
void absent_lane_in_mask(const Stream& stream, float* out);
void barrier_in_a_branch(const Stream& stream, float* out);
void too_much_shared_memory(const Stream& stream, float* out);
void misaligned_copy(const Stream& stream, const float* in, float* out);
void no_wait_for_previous_kernel(const Stream& stream, float* out);
void read_out_of_bounds(const Stream& stream, const float* in, float* out);

}  // namespace openelm::cuda
