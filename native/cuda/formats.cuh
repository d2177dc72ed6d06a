#pragma once

// How the elements of a matrix become floats in registers, 16 bytes at a time. A format has
//   kChunk           elements a lane takes at once, in one or two 16-byte loads;
//   kChunkBytes      what these loads take;
//   Packed           such a chunk as it was loaded;
//   load(w, row, chunk, wanted, packed)
//                    leaves packed as it was where it is not wanted;
//   unpack(packed, v), scale(packed), kBias
//                    the elements are (v[i] - kBias) * scale.

#include "matrix_view.h"
#include "primitives.cuh"

namespace openelm::cuda {

// bytes b of `word` -> float(b) - 128, exactly: 2^23 + b has b in its lowest bits.
__device__ inline void bytes_to_floats(uint32_t word, float* v) {
  constexpr uint32_t kTwoTo23 = 0x4b000000;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[i] = __uint_as_float(__byte_perm(word, kTwoTo23, 0x7440 + i)) - (8388608.0f + 128);
  }
}

struct Float32Format {
  static constexpr int kChunk = 8;
  static constexpr int kChunkBytes = 32;
  static constexpr float kBias = 0;
  static constexpr bool kQuantized = false;
  struct Packed {
    uint4 low, high;
  };

  __device__ static void load(const MatrixView& w, int row, int chunk, bool wanted, Packed& to) {
    const auto* from =
        static_cast<const uint4*>(w.values) + (size_t(row) * (w.stride / kChunk) + chunk) * 2;
    load_streaming_if(wanted, to.low, from);
    load_streaming_if(wanted, to.high, from + 1);
  }
  __device__ static void unpack(const Packed& p, float (&v)[kChunk]) {
    const uint32_t words[kChunk] = {p.low.x,  p.low.y,  p.low.z,  p.low.w,
                                    p.high.x, p.high.y, p.high.z, p.high.w};
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = __uint_as_float(words[i]);
  }
  __device__ static float scale(const Packed&) { return 1; }
};

template <typename T>
__device__ inline void unpack_pair(uint32_t word, float* v);

template <>
__device__ inline void unpack_pair<__nv_bfloat16>(uint32_t word, float* v) {
  v[0] = __uint_as_float(word << 16);
  v[1] = __uint_as_float(word & 0xffff0000);
}

template <>
__device__ inline void unpack_pair<__half>(uint32_t word, float* v) {
  __half2 pair;
  memcpy(&pair, &word, sizeof pair);
  v[0] = __low2float(pair);
  v[1] = __high2float(pair);
}

// T is __half or __nv_bfloat16.
template <typename T>
struct Float16Format {
  static constexpr int kChunk = 8;
  static constexpr int kChunkBytes = 16;
  static constexpr float kBias = 0;
  static constexpr bool kQuantized = false;
  using Packed = uint4;

  __device__ static void load(const MatrixView& w, int row, int chunk, bool wanted, Packed& to) {
    const size_t index = size_t(row) * (w.stride / kChunk) + chunk;
    load_streaming_if(wanted, to, static_cast<const uint4*>(w.values) + index);
  }
  __device__ static void unpack(const Packed& p, float (&v)[kChunk]) {
    unpack_pair<T>(p.x, v);
    unpack_pair<T>(p.y, v + 2);
    unpack_pair<T>(p.z, v + 4);
    unpack_pair<T>(p.w, v + 6);
  }
  __device__ static float scale(const Packed&) { return 1; }
};

struct Q8Format {
  static constexpr int kChunk = 16;
  static constexpr int kChunkBytes = 16;
  static constexpr float kBias = 0;
  static constexpr bool kQuantized = true;
  struct Packed {
    uint4 bits;
    __half scale;
  };

  __device__ static void load(const MatrixView& w, int row, int chunk, bool wanted, Packed& to) {
    const size_t index = size_t(row) * (w.stride / kChunk) + chunk;
    load_streaming_if(wanted, to.bits, static_cast<const uint4*>(w.values) + index);
    load_scale_if<2>(wanted, to.scale, w.scales + index / 2);
  }
  __device__ static void unpack(const Packed& p, float (&v)[kChunk]) {
    constexpr uint32_t kSigns = 0x80808080;  // int8 + 128 is a byte without a sign
    bytes_to_floats(p.bits.x ^ kSigns, v);
    bytes_to_floats(p.bits.y ^ kSigns, v + 4);
    bytes_to_floats(p.bits.z ^ kSigns, v + 8);
    bytes_to_floats(p.bits.w ^ kSigns, v + 12);
  }
  __device__ static float scale(const Packed& p) { return __half2float(p.scale); }
};

// A chunk is a group: byte j holds element j in its low nibble and j + 16 in the high one. A nibble
// n becomes 1/2 + n/32, of whose mantissa it is the highest bits: that takes no arithmetic.
struct Q4Format {
  static constexpr int kChunk = 32;
  static constexpr int kChunkBytes = 16;
  static constexpr float kBias = 0.75f;  // 1/2 + 8/32
  static constexpr bool kQuantized = true;
  using Packed = Q8Format::Packed;

  __device__ static void load(const MatrixView& w, int row, int chunk, bool wanted, Packed& to) {
    const size_t index = size_t(row) * (w.stride / kChunk) + chunk;
    load_streaming_if(wanted, to.bits, static_cast<const uint4*>(w.values) + index);
    load_scale_if<1>(wanted, to.scale, w.scales + index);
  }
  __device__ static void unpack(const Packed& p, float (&v)[kChunk]) {
    const uint32_t words[4] = {p.bits.x, p.bits.y, p.bits.z, p.bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      nibbles_to_floats(words[i] << 3, v + 4 * i);
      nibbles_to_floats(words[i] >> 1, v + 16 + 4 * i);
    }
  }
  __device__ static float scale(const Packed& p) { return __half2float(p.scale) * 32; }

 private:
  // Bits 3 to 6 of each byte.
  __device__ static void nibbles_to_floats(uint32_t word, float* v) {
    constexpr uint32_t kHalf = 0x3f000000;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[i] = __uint_as_float(__byte_perm(word & 0x78787878, kHalf, 0x7044 + (i << 8)));
    }
  }
};

// Calls run(Format{}) for the format of w.
template <typename Run>
void with_format(const MatrixView& w, Run run) {
  switch (w.dtype) {
    case DType::kFloat32:
      return run(Float32Format{});
    case DType::kFloat16:
      return run(Float16Format<__half>{});
    case DType::kBFloat16:
      return run(Float16Format<__nv_bfloat16>{});
    case DType::kQ8:
      return run(Q8Format{});
    case DType::kQ4:
      return run(Q4Format{});
  }
}

}  // namespace openelm::cuda
