#include "file.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "error.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>

#include <filesystem>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace openelm {

static Error io_error(const std::string& path, const std::string& what) {
  return Error(ErrorCode::kIoError, path + ": " + what);
}

static Error truncated(const std::string& path) {
  return io_error(path, "the file is shorter than its header says");
}

#ifdef _WIN32

namespace {

class ReadFile : public File {
 public:
  explicit ReadFile(const std::string& path) : path_(path) {
    const auto wide = std::filesystem::u8path(path).wstring();
    handle_ = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                          FILE_ATTRIBUTE_NORMAL, nullptr);
    if (handle_ == INVALID_HANDLE_VALUE) throw last_error();
  }
  ~ReadFile() override { CloseHandle(handle_); }

  void read(uint64_t offset, size_t bytes, void* to) const override {
    auto* at = static_cast<char*>(to);
    while (bytes > 0) {
      OVERLAPPED position = {};
      position.Offset = DWORD(offset);
      position.OffsetHigh = DWORD(offset >> 32);
      const DWORD want = DWORD(bytes < (1u << 30) ? bytes : (1u << 30));
      DWORD got = 0;
      if (!::ReadFile(handle_, at, want, &got, &position) && GetLastError() != ERROR_HANDLE_EOF) {
        throw last_error();
      }
      if (got == 0) throw truncated(path_);
      at += got;
      offset += got;
      bytes -= got;
    }
  }

 private:
  Error last_error() const {
    return io_error(path_, std::system_category().message(int(GetLastError())));
  }

  std::string path_;
  HANDLE handle_;
};

}  // namespace

// Windows refuses to truncate a mapped file, so a mapping would buy nothing but its own failure
// modes.
std::shared_ptr<const File> File::open(const std::string& path, bool) {
  return std::make_shared<ReadFile>(path);
}

#else

namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd < 0) throw io_error(path, std::strerror(errno));
  }
  ~Descriptor() { close(fd); }
  Descriptor(const Descriptor&) = delete;
  const int fd;
};

class ReadFile : public File {
 public:
  explicit ReadFile(const std::string& path) : path_(path), descriptor_(path) {}

  void read(uint64_t offset, size_t bytes, void* to) const override {
    auto* at = static_cast<char*>(to);
    while (bytes > 0) {
      const ssize_t got = pread(descriptor_.fd, at, bytes, off_t(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw io_error(path_, std::strerror(errno));
      if (got == 0) throw truncated(path_);
      at += got;
      offset += uint64_t(got);
      bytes -= size_t(got);
    }
  }

 private:
  std::string path_;
  Descriptor descriptor_;
};

class MappedFile : public File {
 public:
  explicit MappedFile(const std::string& path) : path_(path) {
    const Descriptor descriptor(path);
    struct stat status;
    if (fstat(descriptor.fd, &status) != 0) throw io_error(path, std::strerror(errno));
    size_ = uint64_t(status.st_size);
    if (size_ == 0) return;
    void* pages = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor.fd, 0);
    if (pages == MAP_FAILED) {
      const auto code = errno == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kIoError;
      throw Error(code, path + ": " + std::strerror(errno));
    }
    data_ = static_cast<const char*>(pages);
  }
  ~MappedFile() override {
    if (data_) munmap(const_cast<char*>(data_), size_);
  }

  void read(uint64_t offset, size_t bytes, void* to) const override {
    if (offset > size_ || bytes > size_ - offset) throw truncated(path_);
    std::memcpy(to, data_ + offset, bytes);
  }

 private:
  std::string path_;
  uint64_t size_ = 0;
  const char* data_ = nullptr;
};

}  // namespace

std::shared_ptr<const File> File::open(const std::string& path, bool map) {
  if (map) return std::make_shared<MappedFile>(path);
  return std::make_shared<ReadFile>(path);
}

#endif

}  // namespace openelm
