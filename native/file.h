#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace openelm {

// A file open for reading at any offset, from any thread. Mapped files save a copy but turn a
// truncation by another process into a crash of this one, so mapping is the caller's choice.
class File {
 public:
  // Throws Error{kIoError} naming the file, and kOutOfMemory when it cannot be mapped because the
  // process has no free range of addresses of that size.
  static std::shared_ptr<const File> open(const std::string& path, bool map);

  virtual ~File() = default;

  // Throws Error{kIoError} when the file ends before offset + bytes.
  virtual void read(uint64_t offset, size_t bytes, void* to) const = 0;

  // The bytes themselves, for reading alone, as long as the pointer is held. Null where the file is
  // not mapped. Throws as read().
  virtual std::shared_ptr<void> share(uint64_t /*offset*/, size_t /*bytes*/) const {
    return nullptr;
  }
};

}  // namespace openelm
