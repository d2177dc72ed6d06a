#pragma once

#include <cstdint>
#include <string>

#include "error.h"

namespace openelm {

// A file that is open for reading, under the name that the operating system has for it.
class FileHandle {
 public:
#ifdef _WIN32
  using Native = void*;
#else
  using Native = int;
#endif

  // Throws Error{kIoError} naming the file.
  explicit FileHandle(const std::string& path);
  ~FileHandle();
  FileHandle(const FileHandle&) = delete;

  uint64_t size() const;

  // What the system says of the call that has just failed.
  Error last_error() const;

  const std::string path;
  const Native native;
};

// Where a file ends before the bytes that were asked for.
Error too_short(const std::string& path);

}  // namespace openelm
