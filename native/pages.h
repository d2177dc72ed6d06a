#pragma once

#include <cstddef>
#include <memory>

namespace openelm {

// Zeroed memory in pages straight from the operating system. Weights and caches never go through
// malloc: Electron replaces it by an allocator that refuses large blocks, and pages given back
// leave the process at once. Untouched pages cost nothing. Throws Error{kOutOfMemory}.
std::shared_ptr<void> allocate_pages(size_t bytes);

// Many blocks that are streamed through and live equally long. They stand one behind the other in
// large regions, of huge pages where the system has them at hand: small ones cost about 4% of the
// bandwidth.
class PageArena {
 public:
  // Zeroed, on a boundary of 64 bytes. Throws Error{kOutOfMemory}.
  std::shared_ptr<void> allocate(size_t bytes);

 private:
  void request_huge_pages();

  std::shared_ptr<void> region_;
  size_t region_bytes_ = 0;
  size_t used_ = 0;
  [[maybe_unused]] bool wants_huge_pages_ = true;  // until one was slow to come
};

}  // namespace openelm
