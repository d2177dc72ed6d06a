#pragma once

#include <atomic>
#include <cstdint>

#include "../machine.h"

// A stand-in at link time for the Objective-C runtime and Metal.framework: the messages that
// native/metal sends, run on the CPU once a command buffer is waited for. It is as strict as
// Metal's own validation layer, and counts.
namespace emulator::metal {

struct Counters {
  std::atomic<uint64_t> command_buffers{0};  // committed
  std::atomic<uint64_t> dispatches{0};       // run
  std::atomic<uint64_t> inline_bytes{0};     // copied by setBytes
  std::atomic<uint64_t> buffers{0};          // made
  std::atomic<uint64_t> pipelines{0};        // made
  std::atomic<int64_t> live_objects{0};      // of all classes, now
  std::atomic<uint64_t> autoreleases_without_pool{0};
};

inline Counters counters;

enum class Fault : uint8_t {
  kNone,
  kNoDevice,
  kNoList,     // of devices, but a default one
  kNoDefault,  // device, but a list
  kOldDevice,
  kLibrary,
  kPipeline,
  kBuffer,
  kCommand
};

// Fails at every request of that kind until it is kNone again. machine.h says what it begins as.
inline Fault fault = !machine_has_gpu("metal") ? Fault::kNoDevice
                     : is_faulty("memory")     ? Fault::kBuffer
                     : is_faulty("driver")     ? Fault::kLibrary
                                               : Fault::kNone;

}  // namespace emulator::metal
