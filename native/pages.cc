#include "pages.h"

#include <algorithm>
#include <cstdint>

#include "error.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#include <time.h>
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

static constexpr size_t kHugePage = size_t(2) << 20;
static constexpr size_t kRegion = size_t(64) << 20;

#ifdef MADV_HUGEPAGE
// Of this thread alone: one that lost its core has not waited for memory.
static double processor_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// Whether the system brings in memory that was not touched before in about the time that filling it
// with zeros takes.
static bool comes_fast(void* page) {
  const double start = processor_seconds();
  *static_cast<volatile char*>(page) = 0;
  return processor_seconds() - start < 1e-3;
}
#endif

// The system need not grant huge pages; then the pages are small. The request is withdrawn where a
// huge page takes far longer than filling it with zeros: some virtual machines give free memory
// back to their host, from where it comes at a tenth of the speed, while small pages are often
// still at hand. Fast pages and slow ones lie side by side there: one of three is enough.
void PageArena::request_huge_pages() {
#ifdef MADV_HUGEPAGE
  if (!wants_huge_pages_) return;
  char* const region = static_cast<char*>(region_.get());
  madvise(region, region_bytes_, MADV_HUGEPAGE);
  wants_huge_pages_ =
      comes_fast(region) || comes_fast(region + kHugePage) || comes_fast(region + 2 * kHugePage);
  if (!wants_huge_pages_) madvise(region, region_bytes_, MADV_NOHUGEPAGE);
#endif
}

std::shared_ptr<void> PageArena::allocate(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  if (bytes == 0) return nullptr;
  if (bytes > region_bytes_ - used_) {
    region_bytes_ = std::max(bytes, kRegion);
    const std::shared_ptr<void> pages = allocate_pages(region_bytes_ + kHugePage);
    const size_t past = reinterpret_cast<uintptr_t>(pages.get()) % kHugePage;
    region_ = {pages, static_cast<char*>(pages.get()) + (kHugePage - past) % kHugePage};
    used_ = 0;
    request_huge_pages();
  }
  const std::shared_ptr<void> block(region_, static_cast<char*>(region_.get()) + used_);
  used_ += bytes;
  return block;
}

}  // namespace openelm
