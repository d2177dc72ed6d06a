#pragma once

#include <cstdlib>
#include <cstring>

// How tests in other processes tell the mock runtimes what the emulated machine is like.
namespace emulator {

inline bool variable_is(const char* name, const char* value) {
  const char* const set = std::getenv(name);
  return set && std::strcmp(set, value) == 0;
}

// OPENELM_TEST_BACKEND names the only GPU of the machine, so that it is the one `auto` takes.
// Without the variable there are both.
inline bool machine_has_gpu(const char* backend) {
  return !std::getenv("OPENELM_TEST_BACKEND") || variable_is("OPENELM_TEST_BACKEND", backend);
}

// OPENELM_EMULATED_FAULT: `memory`, too little for any model; `driver`, which does not start.
inline bool is_faulty(const char* part) { return variable_is("OPENELM_EMULATED_FAULT", part); }

}  // namespace emulator
