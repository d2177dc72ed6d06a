#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

// What compiled shaders (shim.h) and the mock of Metal's host side (mock.cc) know of
// each other.
namespace emulator::metal {

struct Position {
  uint32_t x, y, z;
};

// What one thread of a dispatch gets as arguments of its kernel.
struct Invocation {
  void* const* arguments;  // by buffer index
  Position threadgroup;
  Position threadgroup_size;
  uint32_t thread_index;  // in its threadgroup

  template <typename Pointer>
  Pointer buffer(int index) const {
    return static_cast<Pointer>(arguments[index]);
  }
  template <typename T>
  T& constants(int index) const {
    return *static_cast<T*>(arguments[index]);
  }

  template <typename T>
  T threadgroup_position_in_grid() const {
    return narrow<T>(threadgroup);
  }
  template <typename T>
  T thread_position_in_grid() const {
    return narrow<T>(Position{threadgroup.x * threadgroup_size.x + thread_index,
                              threadgroup.y * threadgroup_size.y,
                              threadgroup.z * threadgroup_size.z});
  }
  template <typename T>
  T thread_index_in_threadgroup() const {
    return thread_index;
  }
  template <typename T>
  T simdgroup_index_in_threadgroup() const {
    return thread_index / 32;
  }
  template <typename T>
  T thread_index_in_simdgroup() const {
    return thread_index % 32;
  }

 private:
  template <typename T>
  static T narrow(Position position) {
    if constexpr (sizeof(T) == sizeof(uint32_t)) {
      return position.x;
    } else if constexpr (sizeof(T) == 2 * sizeof(uint32_t)) {
      return T{position.x, position.y};
    } else {
      return T{position.x, position.y, position.z};
    }
  }
};

struct Kernel {
  void (*run)(const Invocation&);
  uint32_t max_threads;      // of a threadgroup
  std::vector<int> buffers;  // indices that must be bound
};

inline std::map<std::string, Kernel>& kernels() {
  static auto& all = *new std::map<std::string, Kernel>;  // never destroyed, as in mock_objc.h
  return all;
}

// Where the function constants of the shaders are, by index. A dispatch sets them first.
inline std::map<int, uint32_t*>& function_constants() {
  static auto& all = *new std::map<int, uint32_t*>;
  return all;
}

constexpr size_t kMaxThreadgroupMemory = 32 * 1024;

}  // namespace emulator::metal
