#pragma once

// What the kernels need beyond CUDA C++: launches, shared memory, and every instruction that takes
// PTX. The emulator of the tests has a header of the same names for a host compiler; fragment
// layouts are those of the PTX manual.

#ifndef __CUDACC__
#include "emulated_primitives.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "runtime.h"

// The block's dynamic shared memory as an array of `type`, and static shared memory.
#define DYN_SHARED(type, name)                          \
  extern __shared__ __align__(16) uint8_t dyn_shared[]; \
  type* const name = reinterpret_cast<type*>(dyn_shared)
#define SHARED(type, name, dims) __shared__ type name dims

namespace openelm::cuda {

// A kernel that was compiled for less than Hopper, and got there as PTX, does not wait for the
// kernel before it, and must not be started early.
constexpr bool kKernelsWait = std::max({__CUDA_ARCH_LIST__}) >= 900;

// kernel<<<grid, block, shared_bytes, stream>>>(args...) that may start while the kernel before it
// still runs (programmatic dependent launch, from Hopper on): every kernel calls
// wait_for_previous_kernel() before it touches what others wrote.
template <typename... Params, typename... Args>
void launch(const Stream& stream, void (*kernel)(Params...), dim3 grid, int block,
            size_t shared_bytes, const Args&... args) {
  // Kernels with the same share of shared memory, in percent, can be on a multiprocessor together.
  // Those with dynamic shared memory take what they need.
  constexpr unsigned kSharedMemory = 44;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributePreferredSharedMemoryCarveout;
  attributes[0].val.sharedMemCarveout = shared_bytes == 0 ? kSharedMemory : -1u;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(block);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.get();
  config.attrs = attributes;
  config.numAttrs = kKernelsWait && stream.overlaps_kernels() ? 2 : 1;
  check(cudaLaunchKernelEx(&config, kernel, Params(args)...), "launch a kernel");
}

__device__ inline void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel's blocks may take what room there is. They still wait for this one's results.
__device__ inline void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Reads what is read once: weights, keys and values. The compiler must not move it behind
// wait_for_previous_kernel(), as it does with what is not volatile, or read by ld.global.nc.
__device__ inline uint4 load_streaming(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// The same, or nothing.
__device__ inline void load_streaming_if(bool wanted, uint4& to, const uint4* from) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %5, 0;\n"
      "@wanted ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
      : "l"(from), "r"(int(wanted)));
}

// Reads a scale that kLanes neighbouring lanes read together, or nothing.
template <int kLanes>
__device__ inline void load_scale_if(bool wanted, __half& to, const __half* from) {
  uint16_t bits = __half_as_ushort(to);
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %2, 0;\n"
      "@wanted ld.global.u16 %0, [%1];\n"
      "}"
      : "+h"(bits)
      : "l"(from), "r"(int(wanted)));
  to = __ushort_as_half(bits);
}

// Brings the 32 bytes that hold this address closer.
__device__ inline void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

// Counts a block at `counter`, and returns how many came before. What it wrote before a barrier
// that precedes, those that are counted later see after a barrier that follows.
__device__ inline int count_block(int* counter) {
  int before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(counter)
               : "memory");
  return before;
}

// Starts to copy 16 bytes into shared memory, or zeros where there is nothing to copy. They are
// there after cp_async_wait() for their group and a barrier.
__device__ inline void cp_async_16(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
  const uint32_t shared = uint32_t(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<uint4*>(to) = valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

__device__ inline void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most kPending of the groups committed last are still on their way.
template <int kPending>
__device__ inline void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
__device__ inline void ldmatrix_x4(uint32_t (&d)[4], const void* row) {
  const uint32_t shared = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared)
               : "memory");
}

__device__ inline void ldmatrix_x4_trans(uint32_t (&d)[4], const void* row) {
  const uint32_t shared = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(shared)
               : "memory");
}

// c [16, 8] += a [16, 16] b [16, 8]
template <typename T>
__device__ void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ inline void mma_m16n8k16<__half>(float (&c)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  for (int half = 0; half < 2; ++half) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
  }
#endif
}

template <>
__device__ inline void mma_m16n8k16<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  // Turing has no matrix instruction for bfloat16. Lane 4g + t holds rows g and g + 8 of a, column
  // g of b, and columns 2t and 2t + 1 of c, so each lane fetches two rows and two columns.
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
  const auto low = [](uint32_t pair) { return __uint_as_float(pair << 16); };
  const auto high = [](uint32_t pair) { return __uint_as_float(pair & 0xffff0000); };
  for (int lane = 0; lane < 4; ++lane) {
    for (int half = 0; half < 2; ++half) {
      const uint32_t top = __shfl_sync(~0u, a[2 * half], 4 * g + lane);
      const uint32_t bottom = __shfl_sync(~0u, a[2 * half + 1], 4 * g + lane);
      const uint32_t left = __shfl_sync(~0u, b[half], 8 * t + lane);
      const uint32_t right = __shfl_sync(~0u, b[half], 8 * t + 4 + lane);
      c[0] += low(top) * low(left) + high(top) * high(left);
      c[1] += low(top) * low(right) + high(top) * high(right);
      c[2] += low(bottom) * low(left) + high(bottom) * high(left);
      c[3] += low(bottom) * low(right) + high(bottom) * high(right);
    }
  }
#endif
}

}  // namespace openelm::cuda

#endif
