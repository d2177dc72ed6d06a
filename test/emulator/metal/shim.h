#pragma once

// Metal for the emulator: its threads are lanes of block.h. Every function that makes threads meet
// takes the place of its call as a hidden argument.

#include "../block.h"
#include "runtime.h"
#include "types.h"

namespace metal {

using emulator::Group;
using emulator::Site;

// f(a, b) over the active threads of the simdgroup, for all of them.
template <typename T, T (*combine)(T, T)>
T simd_reduce(T value, const Site& site) {
  emulator::warp_collective(
      emulator::kConverged, &value,
      [](const Group& group) {
        T result{};
        bool first = true;
        for (void* posted : group.posted) {
          if (!posted) continue;
          result = first ? *static_cast<T*>(posted) : combine(result, *static_cast<T*>(posted));
          first = false;
        }
        for (void* posted : group.posted) {
          if (posted) *static_cast<T*>(posted) = result;
        }
      },
      site);
  return value;
}

template <typename T>
T add(T a, T b) {
  return a + b;
}
template <typename T>
T larger(T a, T b) {
  return a > b ? a : b;
}

template <typename T>
T simd_sum(T value, const Site& site = Site::current()) {
  return simd_reduce<T, add<T>>(value, site);
}
template <typename T>
T simd_max(T value, const Site& site = Site::current()) {
  return simd_reduce<T, larger<T>>(value, site);
}

template <typename T>
T simd_shuffle_xor(T value, ushort mask, const Site& site = Site::current()) {
  struct Slot {
    T value, result;
    int mask;
  } slot{value, value, mask};
  emulator::warp_collective(
      emulator::kConverged, &slot,
      [](const Group& group) {
        for (int lane = 0; lane < emulator::kWarpSize; ++lane) {
          if (!group.has(lane)) continue;
          Slot& to = *static_cast<Slot*>(group.posted[lane]);
          const int from = lane ^ to.mask;
          if (!group.has(from)) {
            emulator::fail(group.site, "lane " + std::to_string(lane) +
                                           " shuffles from the inactive lane " +
                                           std::to_string(from));
          }
          to.result = static_cast<Slot*>(group.posted[from])->value;
        }
      },
      site);
  return slot.result;
}

inline void threadgroup_barrier(mem_flags, const Site& site = Site::current()) {
  emulator::block_barrier(site);
}

inline void simdgroup_barrier(mem_flags, const Site& site = Site::current()) {
  emulator::warp_collective(emulator::kConverged, nullptr, [](const Group&) {}, site);
}

// An 8 x 8 matrix over a simdgroup. Which two elements a thread holds is unknown to the language;
// here they are two neighbours of row lane / 4.
struct simdgroup_float8x8 {
  float elements[2] = {__builtin_nanf(""), __builtin_nanf("")};
};

inline int matrix_row() { return emulator::current_lane() % 32 / 4; }
inline int matrix_col() { return emulator::current_lane() % 4 * 2; }

template <typename T, int kRows, int kCols>
simdgroup_float8x8 make_filled_simdgroup_matrix(T value) {
  static_assert(kRows == 8 && kCols == 8);
  return {{value, value}};
}

inline void simdgroup_load(simdgroup_float8x8& to, const float* from, ulong stride,
                           ulong2 origin = 0, bool transpose = false) {
  from += origin.y * stride + origin.x;
  for (int i = 0; i < 2; ++i) {
    const ulong row = matrix_row();
    const ulong col = matrix_col() + i;
    to.elements[i] = transpose ? from[col * stride + row] : from[row * stride + col];
  }
}

inline void simdgroup_store(simdgroup_float8x8 from, float* to, ulong stride) {
  for (int i = 0; i < 2; ++i) to[matrix_row() * stride + matrix_col() + i] = from.elements[i];
}

// d = a b + c
inline void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a,
                                          simdgroup_float8x8 b, simdgroup_float8x8 c,
                                          const Site& site = Site::current()) {
  struct Operands {
    simdgroup_float8x8 a, b, c;
  } operands{a, b, c};
  emulator::warp_collective(
      emulator::kConverged, &operands,
      [](const Group& group) {
        if (group.lanes != ~0u) emulator::fail(group.site, "a matrix needs the whole simdgroup");
        const auto of = [&](int row, int col) -> Operands& {
          return *static_cast<Operands*>(group.posted[row * 4 + col / 2]);
        };
        float b[8][8];
        for (int row = 0; row < 8; ++row) {
          for (int col = 0; col < 8; ++col) b[row][col] = of(row, col).b.elements[col % 2];
        }
        for (int row = 0; row < 8; ++row) {
          float sums[8];
          for (int col = 0; col < 8; ++col) sums[col] = of(row, col).c.elements[col % 2];
          for (int k = 0; k < 8; ++k) {
            const float factor = of(row, k).a.elements[k % 2];
            for (int col = 0; col < 8; ++col) sums[col] += factor * b[k][col];
          }
          for (int col = 0; col < 8; ++col) of(row, col).c.elements[col % 2] = sums[col];
        }
      },
      site);
  d = operands.c;
}

inline void simdgroup_multiply(simdgroup_float8x8& d, simdgroup_float8x8 a, simdgroup_float8x8 b,
                               const Site& site = Site::current()) {
  simdgroup_multiply_accumulate(d, a, b, {{0, 0}}, site);
}

inline float dot(float2 a, float2 b) { return a.x * b.x + a.y * b.y; }
inline float dot(float4 a, float4 b) { return dot(a.xy, b.xy) + dot(a.zw, b.zw); }
inline float exp(float x) { return __builtin_expf(x); }
inline float rsqrt(float x) { return 1 / __builtin_sqrtf(x); }
inline float max(float a, float b) { return larger(a, b); }
inline uint max(uint a, uint b) { return larger(a, b); }
inline float min(float a, float b) { return a < b ? a : b; }
inline uint min(uint a, uint b) { return a < b ? a : b; }

}  // namespace metal

namespace emulator::metal {

struct Registration {
  Registration(const char* name, Kernel kernel) { kernels()[name] = std::move(kernel); }
  Registration(int index, uint32_t* constant) { function_constants()[index] = constant; }
};

}  // namespace emulator::metal

#define device
#define constant const
#define threadgroup
#define thread
#define kernel static
#define INFINITY __builtin_inff()

#define FUNCTION_CONSTANT(type, name, index) \
  static type name;                          \
  static const emulator::metal::Registration name##_registration(index, &name);

#define THREADGROUP_ARRAY(type, name, dimensions)   \
  using name##_array = type dimensions;             \
  name##_array& name = *static_cast<name##_array*>( \
      emulator::shared_memory(sizeof(name##_array), emulator::Site::current()));

#define REGISTER_KERNEL(name, max_threads, call, ...)             \
  static const emulator::metal::Registration name##_registration( \
      #name, {[](const emulator::metal::Invocation& at) { call; }, max_threads, {__VA_ARGS__}});
