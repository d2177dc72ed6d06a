#pragma once

#include <cstddef>
#include <cstdint>

// What kernels compiled with -fsanitize-coverage=trace-loads load from some of the memory.
namespace emulator::metal {

// Counts loads from [memory, memory + bytes) from now on, besides what it counts already.
void count_loads_from(const void* memory, size_t bytes);

uint64_t loaded_bytes();

// Forgets all of it.
void reset_loads();

}  // namespace emulator::metal
