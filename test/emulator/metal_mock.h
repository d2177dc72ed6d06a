#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// A stand-in at link time for the Objective-C runtime and Metal.framework: the messages that
// native/metal sends, run on the CPU when a command buffer is committed. It is as strict as Metal's
// own validation layer, and counts.
namespace emulator::metal {

struct Counters {
  uint64_t command_buffers = 0;  // committed
  uint64_t dispatches = 0;       // run
  uint64_t inline_bytes = 0;     // copied by setBytes
  uint64_t buffers = 0;          // made
  uint64_t pipelines = 0;        // made
  int64_t live_objects = 0;      // of all classes, now
  uint64_t autoreleases_without_pool = 0;
};

inline Counters counters;

enum class Failure : uint8_t {
  kNone,
  kNoDevice,
  kOldDevice,
  kLibrary,
  kPipeline,
  kBuffer,
  kCommand
};

// Fails at every request of that kind until it is kNone again.
inline Failure failure = Failure::kNone;

}  // namespace emulator::metal
