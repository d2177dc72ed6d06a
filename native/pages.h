#pragma once

#include <cstddef>
#include <memory>

namespace openelm {

// Zeroed memory in pages straight from the operating system. Weights and caches never go through
// malloc: Electron replaces it by an allocator that refuses large blocks, and pages given back
// leave the process at once. Untouched pages cost nothing. Throws Error{kOutOfMemory}.
std::shared_ptr<void> allocate_pages(size_t bytes);

}  // namespace openelm
