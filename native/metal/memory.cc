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
  void* const handle = buffer.id();
  const auto give_back = [pages, self = shared_from_this()](mtl::Buffer& view) {
    const objc::AutoreleasePool pool;
    if (const mtl::CommandBuffer commands = self->running()) commands.wait();
    view = mtl::Buffer();  // before its pages
  };
  std::shared_ptr<void> memory(
      pages.get(), [give_back, buffer = std::move(buffer)](void*) mutable { give_back(buffer); });
  return Buffer{std::move(memory), bytes, 0, handle};
}

void Memory::set_running(mtl::CommandBuffer commands) {
  const std::lock_guard lock(mutex_);
  running_ = std::move(commands);
}

mtl::CommandBuffer Memory::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

}  // namespace openelm::metal
