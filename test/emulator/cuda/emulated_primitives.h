#pragma once

// native/cuda/primitives.cuh for a host compiler: CUDA's built-ins and our primitives on the lanes
// of the emulator, under the same names.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "../../../native/cuda/runtime.h"
#include "../block.h"
#include "hidden_writes.h"
#include "mock_runtime.h"

namespace emulator::cuda {

// The launch that is running.
struct Launch {
  dim3 grid;
  int block = 0;
  uint3 block_index = {};
  size_t shared_bytes = 0;
  size_t shared_limit = 0;
  bool overlaps = false;      // the launch before it
  bool hides_writes = false;  // of kernels before it, until all lanes of this block have waited
  bool waits_first = false;   // before it lets the next kernel start
  uint64_t early_bytes = 0;
  std::vector<bool> waited;  // for the kernel before it: of the block's lanes
};
inline thread_local Launch current;

// Counts what a lane loads of weights, keys and values.
inline void count_loaded(size_t bytes) {
  counters.loaded_bytes += bytes;
  if (!current.waited[size_t(current_lane())]) current.early_bytes += bytes;
}

inline uint3 thread_index() { return {unsigned(current_lane()), 0, 0}; }

void run(const Launch& launch, const std::function<void()>& kernel);

// Copies that a lane has started and not waited for, oldest group first; the last is still open.
struct PendingCopy {
  void* to;
  const void* from;  // null for zeros
};
std::vector<std::vector<PendingCopy>>& pending_copies();
void land_copies(size_t groups_left);

template <typename T>
T shuffle(unsigned mask, T value, int source, const Site& site) {
  struct Posted {
    T value;
    int source;
  } mine{value, source};
  warp_collective(
      mask, &mine,
      [](const Group& group) {
        T values[kWarpSize] = {};
        for (int lane = 0; lane < kWarpSize; ++lane) {
          if (group.has(lane)) values[lane] = static_cast<Posted*>(group.posted[lane])->value;
        }
        for (int lane = 0; lane < kWarpSize; ++lane) {
          if (!group.has(lane)) continue;
          Posted& posted = *static_cast<Posted*>(group.posted[lane]);
          if (!group.has(posted.source)) {
            fail(group.site, "lane " + std::to_string(lane) + " shuffles from lane " +
                                 std::to_string(posted.source) + ", which is not active");
          }
          posted.value = values[posted.source];
        }
      },
      site);
  return mine.value;
}

}  // namespace emulator::cuda

#undef __launch_bounds__
#define __launch_bounds__(...)

#define threadIdx (emulator::cuda::thread_index())
#define blockIdx (emulator::cuda::current.block_index)
#define blockDim (dim3(emulator::cuda::current.block))
#define gridDim (emulator::cuda::current.grid)

#define DYN_SHARED(type, name)           \
  type* const name = static_cast<type*>( \
      emulator::shared_memory(emulator::cuda::current.shared_bytes, emulator::Site::current()))
#define SHARED(type, name, dims)                    \
  using name##_array = type dims;                   \
  name##_array& name = *static_cast<name##_array*>( \
      emulator::shared_memory(sizeof(name##_array), emulator::Site::current()))

inline void __syncthreads(const emulator::Site& site = emulator::Site::current()) {
  emulator::block_barrier(site);
}

inline void __syncwarp(unsigned mask = ~0u,
                       const emulator::Site& site = emulator::Site::current()) {
  emulator::warp_collective(mask, nullptr, [](const emulator::Group&) {}, site);
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source,
              const emulator::Site& site = emulator::Site::current()) {
  return emulator::cuda::shuffle(mask, value, source, site);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask,
                  const emulator::Site& site = emulator::Site::current()) {
  const int lane = emulator::current_lane() % emulator::kWarpSize;
  return emulator::cuda::shuffle(mask, value, lane ^ lane_mask, site);
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}

inline unsigned atomicAdd(unsigned* sum, unsigned value) {
  const unsigned before = *sum;
  *sum += value;
  return before;
}

inline float __uint_as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = uint64_t(high) << 32 | low;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const int from = int(selector >> 4 * i & 7);
    result |= uint32_t(bytes >> 8 * from & 0xff) << 8 * i;
  }
  return result;
}

using std::max;
using std::min;

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace openelm::cuda {

template <typename... Params, typename... Args>
void launch(const Stream& stream, void (*kernel)(Params...), dim3 grid, int block,
            size_t shared_bytes, const Args&... args) {
  check(emulator::cuda::check_launch(reinterpret_cast<const void*>(kernel), grid, block,
                                     shared_bytes),
        "launch a kernel");
  emulator::cuda::Launch launch;
  launch.grid = grid;
  launch.block = block;
  launch.shared_bytes = shared_bytes;
  launch.overlaps = stream.overlaps_kernels();
  launch.shared_limit = emulator::cuda::shared_limit(reinterpret_cast<const void*>(kernel));
  emulator::cuda::enqueue(stream.get(),
                          [=] { emulator::cuda::run(launch, [=] { kernel(Params(args)...); }); });
}

inline void wait_for_previous_kernel(const emulator::Site& site = emulator::Site::current()) {
  emulator::cuda::Launch& launch = emulator::cuda::current;
  launch.waited[size_t(emulator::current_lane())] = true;
  if (!launch.hides_writes) return;
  emulator::block_barrier(site);
  emulator::cuda::show_writes();
}

inline void let_next_kernel_start() {
  emulator::cuda::Launch& launch = emulator::cuda::current;
  launch.waits_first = launch.waited[size_t(emulator::current_lane())];
}

inline uint4 load_streaming(const uint4* from) {
  emulator::cuda::count_loaded(sizeof *from);
  return *from;
}

inline void load_streaming_if(bool wanted, uint4& to, const uint4* from) {
  if (wanted) to = load_streaming(from);
}

template <int kLanes>
void load_scale_if(bool wanted, __half& to, const __half* from) {
  static_assert(sizeof *from % kLanes == 0, "a fraction of a byte");
  if (!wanted) return;
  emulator::cuda::count_loaded(sizeof *from / kLanes);
  to = *from;
}

inline void prefetch(const void*) {}

inline int count_block(int* counter) { return (*counter)++; }

inline void cp_async_16(void* to, const void* from, bool valid,
                        const emulator::Site& site = emulator::Site::current()) {
  if (uintptr_t(to) % 16 || (valid && uintptr_t(from) % 16)) {
    emulator::fail(site, "a copy of 16 bytes is not aligned");
  }
  std::memset(to, 0xff, 16);
  auto& groups = emulator::cuda::pending_copies();
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back({to, valid ? from : nullptr});
}

inline void cp_async_commit() {
  auto& groups = emulator::cuda::pending_copies();
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

template <int kPending>
void cp_async_wait() {
  emulator::cuda::land_copies(kPending);
}

void ldmatrix_x4(uint32_t (&d)[4], const void* row,
                 const emulator::Site& site = emulator::Site::current());
void ldmatrix_x4_trans(uint32_t (&d)[4], const void* row,
                       const emulator::Site& site = emulator::Site::current());

// c [16, 8] += a [16, 16] b [16, 8], all as the fragments of a warp.
struct MmaOperands {
  float* c;
  const uint32_t* a;
  const uint32_t* b;
};
void mma_float16(const emulator::Group& group);
void mma_bfloat16(const emulator::Group& group);

template <typename T>
void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  const emulator::Site& site = emulator::Site::current()) {
  MmaOperands mine{c, a, b};
  emulator::warp_collective(~0u, &mine, std::is_same_v<T, __half> ? mma_float16 : mma_bfloat16,
                            site);
}

}  // namespace openelm::cuda
