#include "memory.h"

#include <unistd.h>

#include "../error.h"
#include "../pages.h"

namespace openelm::metal {

Buffer Memory::allocate(size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const size_t rounded = std::max(page, (bytes + page - 1) / page * page);
  std::shared_ptr<void> pages = allocate_pages(rounded);
  const objc::AutoreleasePool pool;
  mtl::Buffer buffer = device_.new_buffer_no_copy(pages.get(), rounded);
  if (!buffer) {
    throw Error(ErrorCode::kOutOfMemory,
                "Metal cannot use " + std::to_string(rounded) +
                    " more bytes of memory; choose a smaller dtype or a shorter contextLength");
  }
  const auto* address = static_cast<const char*>(pages.get());
  {
    const std::lock_guard lock(mutex_);
    buffers_.emplace(address, std::move(buffer));
  }
  std::shared_ptr<void> memory(pages.get(), [pages, address, self = shared_from_this()](void*) {
    self->free(address);  // and then its pages
  });
  return Buffer{std::move(memory), bytes};
}

void Memory::free(const char* address) {
  const objc::AutoreleasePool pool;
  if (const mtl::CommandBuffer commands = running()) commands.wait();
  const std::lock_guard lock(mutex_);
  buffers_.erase(address);
}

void Memory::set_running(mtl::CommandBuffer commands) {
  const std::lock_guard lock(mutex_);
  running_ = std::move(commands);
}

mtl::CommandBuffer Memory::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

Memory::View Memory::find(const void* address) const {
  const auto* target = static_cast<const char*>(address);
  const std::lock_guard lock(mutex_);
  auto after = buffers_.upper_bound(target);
  if (after == buffers_.begin()) {
    throw Error(ErrorCode::kInternal, "memory that is not of the Metal backend");
  }
  --after;
  return {after->second.id(), mtl::Integer(target - after->first)};
}

}  // namespace openelm::metal
