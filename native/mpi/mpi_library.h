#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace openelm::mpi {

// A handle of MPI, which is an int or a pointer.
union Request {
  void* pointer;
  int integer;
};

// The functions of MPI that a group needs, of a library that is opened at run time: of Open MPI, of
// MPICH and its kin, or one with the ABI of MPI 5. One thread makes all calls. Where MPI reports an
// error they throw Error{kRankLost} with what it says.
class Library {
 public:
  virtual ~Library() = default;

  // The file, and what the library says of itself: "Open MPI v4.1.4" and so on.
  virtual const std::string& path() const = 0;
  virtual const std::string& version() const = 0;

  // Errors of init() end the process. Throws Error{kBusy} when somebody else has called it.
  virtual void init() = 0;
  virtual int rank() = 0;
  virtual int size() = 0;
  virtual void finalize() = 0;
  virtual void abort(int code) = 0;

  // Bytes to or from a rank; `count` is at most kMaxCount.
  virtual Request send(const void* data, size_t count, int rank, int tag) = 0;
  virtual Request receive(void* data, size_t count, int rank, int tag) = 0;
  // From rank 0 to all.
  virtual Request broadcast(void* data, size_t count) = 0;
  // Whether it is complete; then the request is void.
  virtual bool test(Request& request) = 0;
  // Gives up a receive that is not complete.
  virtual void cancel(Request& request) = 0;
};

constexpr size_t kMaxCount = size_t(1) << 28;  // counts of MPI are ints

// Opens the library at a path or, where it is empty, the one that fits the launcher by its
// variables in the environment, or any. Throws Error{kDependencyNotFound} with what was tried.
std::unique_ptr<Library> open_library(const std::string& path);

// The libraries that this machine has: path and version of each.
struct FoundLibrary {
  std::string path;
  std::string version;
};
std::vector<FoundLibrary> list_libraries();

// How many ranks the launcher says there are, by its variable; none: an empty name.
struct LauncherSize {
  std::string variable;
  int size = 1;
};
LauncherSize launcher_size();

}  // namespace openelm::mpi
