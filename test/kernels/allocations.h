#pragma once

#include <atomic>

// What `new` does on threads that are watched.
namespace openelm {

extern thread_local bool is_watched;
extern std::atomic<int> allocations;         // so far
extern std::atomic<int> left_until_failure;  // of them; negative: none fails

}  // namespace openelm
