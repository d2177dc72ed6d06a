#include "file_handle.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>

#include <filesystem>
#include <system_error>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace openelm {

static Error io_error(const std::string& path, const std::string& what) {
  return Error(ErrorCode::kIoError, path + ": " + what);
}

Error too_short(const std::string& path) {
  return io_error(path, "the file is shorter than its header says");
}

#ifdef _WIN32

static void* open_for_reading(const std::string& path) {
  const auto wide = std::filesystem::u8path(path).wstring();
  return CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                     FILE_ATTRIBUTE_NORMAL, nullptr);
}

FileHandle::FileHandle(const std::string& path) : path(path), native(open_for_reading(path)) {
  if (native == INVALID_HANDLE_VALUE) throw last_error();
}

FileHandle::~FileHandle() { CloseHandle(native); }

uint64_t FileHandle::size() const {
  LARGE_INTEGER size;
  if (!GetFileSizeEx(native, &size)) throw last_error();
  return uint64_t(size.QuadPart);
}

Error FileHandle::last_error() const {
  return io_error(path, std::system_category().message(int(GetLastError())));
}

#else

FileHandle::FileHandle(const std::string& path)
    : path(path), native(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (native < 0) throw last_error();
}

FileHandle::~FileHandle() { close(native); }

uint64_t FileHandle::size() const {
  struct stat status;
  if (fstat(native, &status) != 0) throw last_error();
  return uint64_t(status.st_size);
}

Error FileHandle::last_error() const { return io_error(path, std::strerror(errno)); }

#endif

}  // namespace openelm
