#include "mpi_library.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../error.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif
#ifdef __linux__
#include <link.h>
#endif

namespace openelm::mpi {

static const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

LauncherSize launcher_size() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    if (const char* value = variable(name)) return {name, std::max(1, std::atoi(value))};
  }
  return {};
}

#ifdef _WIN32

std::unique_ptr<Library> open_library(const std::string&) {
  throw Error(ErrorCode::kDependencyNotFound, "training by MPI is not possible on Windows");
}
std::vector<FoundLibrary> list_libraries() { return {}; }

#else

namespace {

enum class Kind : uint8_t { kOpenMpi, kMpich, kStandard };

struct Candidate {
  Kind kind;
  const char* name;
};

constexpr Candidate kCandidates[] = {
#ifdef __APPLE__
    {Kind::kOpenMpi, "libmpi.40.dylib"},     {Kind::kMpich, "libmpi.12.dylib"},
    {Kind::kMpich, "libmpich.12.dylib"},     {Kind::kStandard, "libmpi_abi.1.dylib"},
    {Kind::kStandard, "libmpi_abi.0.dylib"}, {Kind::kStandard, "libmpi_abi.dylib"},
#else
    {Kind::kOpenMpi, "libmpi.so.40"},     {Kind::kMpich, "libmpi.so.12"},
    {Kind::kMpich, "libmpich.so.12"},     {Kind::kStandard, "libmpi_abi.so.1"},
    {Kind::kStandard, "libmpi_abi.so.0"}, {Kind::kStandard, "libmpi_abi.so"},
#endif
};

// Which libraries speak to the launcher that has started this process: that of the standard's ABI
// may, whoever made it.
bool fits_launcher(Kind kind) {
  if (kind == Kind::kStandard) return true;
  if (variable("OMPI_COMM_WORLD_SIZE")) return kind == Kind::kOpenMpi;
  if (variable("PMI_RANK")) return kind == Kind::kMpich;
  if (variable("PMIX_RANK")) return kind == Kind::kOpenMpi;
  return true;
}

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Opened = std::unique_ptr<void, CloseLibrary>;

// Open MPI's manual wants its symbols to be global: it loads plugins that look for them.
Opened open_file(const std::string& path) {
  return Opened(dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL));
}

template <typename Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

std::string version_of(void* library) {
  using GetVersion = int (*)(char*, int*);
  const auto get_version = find<GetVersion>(library, "MPI_Get_library_version");
  if (!get_version) return {};
  std::vector<char> text(8192 + 1);  // the longest of all libraries
  int length = 0;
  if (get_version(text.data(), &length) != 0) return {};
  std::string version(text.data(), std::clamp(length, 0, 8192));
  while (!version.empty() && (version.back() == '\n' || version.back() == '\0')) version.pop_back();
  version = version.substr(0, version.find('\n'));
  // "MPICH Version:      4.0.2" as "MPICH 4.0.2".
  if (const size_t at = version.find(" Version:"); at != std::string::npos) {
    const size_t number = version.find_first_not_of(" \t", at + 9);
    if (number != std::string::npos) version.replace(at + 1, number - at - 1, "");
  }
  // "Open MPI v4.1.4, package: ..., ident: ...": the rest is who has built it.
  return version.substr(0, version.find(','));
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// Throws Error{kDependencyNotFound}.
Kind kind_of(void* library, const std::string& path, const std::string& version) {
  if (dlsym(library, "ompi_mpi_comm_world")) return Kind::kOpenMpi;
  using AbiVersion = int (*)(int*, int*);
  int major = -1;
  int minor = -1;
  const auto abi_version = find<AbiVersion>(library, "MPI_Abi_get_version");
  if (abi_version && abi_version(&major, &minor) == 0 && major >= 1) return Kind::kStandard;
  const bool is_kin = version.starts_with("MPICH") || version.starts_with("Intel") ||
                      version.starts_with("MVAPICH") || has(version, "CRAY");
  if (is_kin) return Kind::kMpich;
  throw Error(ErrorCode::kDependencyNotFound,
              path + " is no MPI library that is known here; it says of itself: " +
                  (version.empty() ? "nothing" : version));
}

// What is different between the ABIs, beside the type of a handle.
template <typename Handle>
struct Constants {
  Handle world;
  Handle byte;
  Handle errors_return;
  void* ignored_status;
  int thread_funneled;
};

template <typename Handle>
class LibraryOf final : public Library {
 public:
  LibraryOf(Opened library, std::string path, std::string version, Constants<Handle> constants)
      : library_(std::move(library)),
        path_(std::move(path)),
        version_(std::move(version)),
        constants_(constants) {
    load(init_thread_, "MPI_Init_thread");
    load(initialized_, "MPI_Initialized");
    load(finalize_, "MPI_Finalize");
    load(abort_, "MPI_Abort");
    load(comm_rank_, "MPI_Comm_rank");
    load(comm_size_, "MPI_Comm_size");
    load(comm_set_errhandler_, "MPI_Comm_set_errhandler");
    load(error_string_, "MPI_Error_string");
    load(isend_, "MPI_Isend");
    load(irecv_, "MPI_Irecv");
    load(ibcast_, "MPI_Ibcast");
    load(test_, "MPI_Test");
    load(cancel_, "MPI_Cancel");
    load(request_free_, "MPI_Request_free");
  }

  const std::string& path() const override { return path_; }
  const std::string& version() const override { return version_; }

  void init() override {
    int is_initialized = 0;
    check(initialized_(&is_initialized));
    if (is_initialized) throw Error(ErrorCode::kBusy, "MPI is already in use in this process");
    int provided = 0;
    check(init_thread_(nullptr, nullptr, constants_.thread_funneled, &provided));
    check(comm_set_errhandler_(constants_.world, constants_.errors_return));
  }
  int rank() override {
    int rank = 0;
    check(comm_rank_(constants_.world, &rank));
    return rank;
  }
  int size() override {
    int size = 0;
    check(comm_size_(constants_.world, &size));
    return size;
  }
  void finalize() override { check(finalize_()); }
  void abort(int code) override { abort_(constants_.world, code); }

  Request send(const void* data, size_t count, int rank, int tag) override {
    return start([&](Handle* request) {
      return isend_(data, int(count), constants_.byte, rank, tag, constants_.world, request);
    });
  }
  Request receive(void* data, size_t count, int rank, int tag) override {
    return start([&](Handle* request) {
      return irecv_(data, int(count), constants_.byte, rank, tag, constants_.world, request);
    });
  }
  Request broadcast(void* data, size_t count) override {
    return start([&](Handle* request) {
      return ibcast_(data, int(count), constants_.byte, 0, constants_.world, request);
    });
  }
  bool test(Request& request) override {
    int is_complete = 0;
    check(test_(handle(request), &is_complete, constants_.ignored_status));
    return is_complete != 0;
  }
  void cancel(Request& request) override {
    check(cancel_(handle(request)));
    check(request_free_(handle(request)));
  }

 private:
  template <typename Function>
  void load(Function& function, const char* name) {
    function = find<Function>(library_.get(), name);
    if (!function) {
      throw Error(ErrorCode::kDependencyNotFound, path_ + " has no function " + name);
    }
  }

  static Handle* handle(Request& request) { return reinterpret_cast<Handle*>(&request); }

  template <typename Start>
  Request start(const Start& start) {
    Request request{};
    check(start(handle(request)));
    return request;
  }

  void check(int code) {
    if (code == 0) return;
    std::vector<char> text(8192 + 1);
    int length = 0;
    std::string what = "error " + std::to_string(code);
    if (error_string_(code, text.data(), &length) == 0) what = text.data();
    throw Error(ErrorCode::kRankLost, "MPI: " + what);
  }

  const Opened library_;
  const std::string path_;
  const std::string version_;
  const Constants<Handle> constants_;

  int (*init_thread_)(int*, char***, int, int*) = nullptr;
  int (*initialized_)(int*) = nullptr;
  int (*finalize_)() = nullptr;
  int (*abort_)(Handle, int) = nullptr;
  int (*comm_rank_)(Handle, int*) = nullptr;
  int (*comm_size_)(Handle, int*) = nullptr;
  int (*comm_set_errhandler_)(Handle, Handle) = nullptr;
  int (*error_string_)(int, char*, int*) = nullptr;
  int (*isend_)(const void*, int, Handle, int, int, Handle, Handle*) = nullptr;
  int (*irecv_)(void*, int, Handle, int, int, Handle, Handle*) = nullptr;
  int (*ibcast_)(void*, int, Handle, int, Handle, Handle*) = nullptr;
  int (*test_)(Handle*, int*, void*) = nullptr;
  int (*cancel_)(Handle*) = nullptr;
  int (*request_free_)(Handle*) = nullptr;
};

std::unique_ptr<Library> make_library(Opened opened, const std::string& path) {
  void* library = opened.get();
  const std::string version = version_of(library);
  const auto address = [](uintptr_t value) { return reinterpret_cast<void*>(value); };
  switch (kind_of(library, path, version)) {
    case Kind::kOpenMpi:
      return std::make_unique<LibraryOf<void*> >(
          std::move(opened), path, version,
          Constants<void*>{dlsym(library, "ompi_mpi_comm_world"), dlsym(library, "ompi_mpi_byte"),
                           dlsym(library, "ompi_mpi_errors_return"), nullptr, 1});
    case Kind::kMpich:
      return std::make_unique<LibraryOf<int> >(
          std::move(opened), path, version,
          Constants<int>{0x44000000, 0x4c00010d, 0x54000001, address(1), 1});
    case Kind::kStandard:
      break;
  }
  // Of the header that the MPI Forum has published with MPI 5.0.
  return std::make_unique<LibraryOf<void*> >(
      std::move(opened), path, version,
      Constants<void*>{address(0x101), address(0x247), address(0x142), nullptr, 1024});
}

// Where the library of that name is: the loader knows its file.
std::string path_of(void* library, const char* name) {
#ifndef __linux__
  (void)library;
  return name;
#else
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0 || !map) return name;
  return *map->l_name ? map->l_name : name;
#endif
}

}  // namespace

std::unique_ptr<Library> open_library(const std::string& path) {
  // UCX takes SIGSEGV for itself otherwise, by which V8 notices traps of WebAssembly.
  setenv("UCX_ERROR_SIGNALS", "", 0);
  if (!path.empty()) {
    Opened opened = open_file(path);
    if (!opened) throw Error(ErrorCode::kDependencyNotFound, std::string(dlerror()));
    return make_library(std::move(opened), path);
  }
  std::string tried;
  for (const auto& [kind, name] : kCandidates) {
    if (!fits_launcher(kind)) continue;
    if (Opened opened = open_file(name)) {
      const std::string file = path_of(opened.get(), name);
      return make_library(std::move(opened), file);
    }
    tried += (tried.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorCode::kDependencyNotFound,
              "found no MPI library (" + tried +
                  "); install one, for example with apt install openmpi-bin, or name its file in "
                  "OPENELM_MPI");
}

std::vector<FoundLibrary> list_libraries() {
  std::vector<FoundLibrary> found;
  for (const auto& [kind, name] : kCandidates) {
    // Not global here: two of them would see each other's symbols.
    const Opened opened(dlopen(name, RTLD_LAZY | RTLD_LOCAL));
    if (!opened) continue;
    const std::string path = path_of(opened.get(), name);
    const bool is_known = std::any_of(found.begin(), found.end(),
                                      [&](const FoundLibrary& one) { return one.path == path; });
    if (!is_known) found.push_back({path, version_of(opened.get())});
  }
  return found;
}

#endif

}  // namespace openelm::mpi
