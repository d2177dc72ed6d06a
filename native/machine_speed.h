#pragma once

namespace openelm {

// What so many threads of this machine reach together: the roof that every speed is a share of.
struct MachineSpeed {
  double read_bandwidth;  // bytes a second, from memory
  double float_peak;      // operations a second, of multiply-adds in float32: two each
};

// Takes about a second and 512 MB. The best of many short bursts, because other processes disturb
// most of them. Throws Error{kOutOfMemory}, and std::system_error when no thread can be started.
MachineSpeed measure_machine(int threads);

}  // namespace openelm
