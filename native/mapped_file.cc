#include "mapped_file.h"

#include <cstring>

#include "file_handle.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>

#include <cerrno>
#endif

namespace openelm {

// The first `bytes` of a file, which are not 0.
static std::shared_ptr<char> map_bytes(const FileHandle& file, size_t bytes);

namespace {

class MappedFile : public File {
 public:
  explicit MappedFile(const std::string& path) : path_(path) {
    const FileHandle file(path);
    bytes_ = file.size();
    if (bytes_ > 0) data_ = map_bytes(file, size_t(bytes_));
  }

  void read(uint64_t offset, size_t bytes, void* to) const override {
    std::memcpy(to, at(offset, bytes), bytes);
  }

  std::shared_ptr<void> share(uint64_t offset, size_t bytes) const override {
    return {data_, at(offset, bytes)};
  }

 private:
  char* at(uint64_t offset, size_t bytes) const {
    if (offset > bytes_ || bytes > bytes_ - offset) throw too_short(path_);
    return data_.get() + offset;
  }

  std::string path_;
  uint64_t bytes_ = 0;
  std::shared_ptr<char> data_;
};

}  // namespace

std::shared_ptr<const File> map_file(const std::string& path) {
  return std::make_shared<MappedFile>(path);
}

#ifdef _WIN32

std::shared_ptr<char> map_bytes(const FileHandle& file, size_t) {
  const HANDLE mapping = CreateFileMappingW(file.native, nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!mapping) throw file.last_error();
  void* const view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  const DWORD code = view ? ERROR_SUCCESS : GetLastError();
  CloseHandle(mapping);  // the view holds it
  if (view) return {static_cast<char*>(view), [](char* p) { UnmapViewOfFile(p); }};
  SetLastError(code);
  const Error error = file.last_error();
  if (code == ERROR_NOT_ENOUGH_MEMORY) throw Error(ErrorCode::kOutOfMemory, error.what());
  throw error;
}

#else

std::shared_ptr<char> map_bytes(const FileHandle& file, size_t bytes) {
  void* const pages = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.native, 0);
  if (pages != MAP_FAILED) {
    return {static_cast<char*>(pages), [bytes](char* p) { munmap(p, bytes); }};
  }
  const bool out_of_memory = errno == ENOMEM;
  const Error error = file.last_error();
  if (out_of_memory) throw Error(ErrorCode::kOutOfMemory, error.what());
  throw error;
}

#endif

}  // namespace openelm
