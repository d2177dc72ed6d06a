#include "allocations.h"

#include <cstdlib>
#include <new>

namespace openelm {

thread_local bool is_watched = false;
std::atomic<int> allocations{0};
std::atomic<int> left_until_failure{-1};

}  // namespace openelm

void* operator new(size_t size) {
  using namespace openelm;
  if (is_watched) {
    ++allocations;
    if (left_until_failure >= 0 && left_until_failure-- == 0) throw std::bad_alloc();
  }
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
