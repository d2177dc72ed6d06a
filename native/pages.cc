#include "pages.h"

#include "error.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace openelm {

static Error out_of_memory(size_t bytes) {
  return Error(ErrorCode::kOutOfMemory,
               "cannot allocate " + std::to_string(bytes) + " bytes of memory");
}

#ifdef _WIN32

std::shared_ptr<void> allocate_pages(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* pages = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!pages) throw out_of_memory(bytes);
  return std::shared_ptr<void>(pages, [](void* p) { VirtualFree(p, 0, MEM_RELEASE); });
}

#else

std::shared_ptr<void> allocate_pages(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw out_of_memory(bytes);
  return std::shared_ptr<void>(pages, [bytes](void* p) { munmap(p, bytes); });
}

#endif

}  // namespace openelm
