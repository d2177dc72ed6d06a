#include "file.h"

#include "file_handle.h"
#include "mapped_file.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <unistd.h>

#include <cerrno>
#endif

namespace openelm {

namespace {

class ReadFile : public File {
 public:
  explicit ReadFile(const std::string& path) : handle_(path) {}

  void read(uint64_t offset, size_t bytes, void* to) const override {
    auto* at = static_cast<char*>(to);
    while (bytes > 0) {
      const size_t got = read_some(offset, bytes, at);
      if (got == 0) throw too_short(handle_.path);
      at += got;
      offset += got;
      bytes -= got;
    }
  }

 private:
  // 0 at the end of the file.
  size_t read_some(uint64_t offset, size_t bytes, char* to) const;

  FileHandle handle_;
};

#ifdef _WIN32

size_t ReadFile::read_some(uint64_t offset, size_t bytes, char* to) const {
  OVERLAPPED position = {};
  position.Offset = DWORD(offset);
  position.OffsetHigh = DWORD(offset >> 32);
  const DWORD want = DWORD(bytes < (1u << 30) ? bytes : (1u << 30));
  DWORD got = 0;
  if (!::ReadFile(handle_.native, to, want, &got, &position) &&
      GetLastError() != ERROR_HANDLE_EOF) {
    throw handle_.last_error();
  }
  return got;
}

#else

size_t ReadFile::read_some(uint64_t offset, size_t bytes, char* to) const {
  for (;;) {
    const ssize_t got = pread(handle_.native, to, bytes, off_t(offset));
    if (got >= 0) return size_t(got);
    if (errno != EINTR) throw handle_.last_error();
  }
}

#endif

}  // namespace

std::shared_ptr<const File> File::open(const std::string& path, bool map) {
  if (map) return map_file(path);
  return std::make_shared<ReadFile>(path);
}

}  // namespace openelm
