#pragma once

#include <mutex>

#include "../model/model.h"
#include "mtl.h"

namespace openelm::metal {

// Pages of the engine's own that are Metal buffers too: one memory under a CPU and a GPU pointer,
// the address and the handle of a Buffer.
class Memory : public std::enable_shared_from_this<Memory> {
 public:
  explicit Memory(mtl::Device device) : device_(std::move(device)) {}

  // Zeroed. Throws Error{kOutOfMemory}. Any thread may call it, and may drop what it returns.
  Buffer allocate(size_t bytes);

  // The last commands that were committed, which may use any of this memory: none of it is given
  // back before they end. So they are replaced by none only once they have.
  void set_running(mtl::CommandBuffer commands);
  mtl::CommandBuffer running() const;

 private:
  const mtl::Device device_;
  mutable std::mutex mutex_;
  mtl::CommandBuffer running_;  // guarded by mutex_
};

}  // namespace openelm::metal
