#pragma once

// Tiles of 32 columns in shared memory, and the fragments of mma.m16n8k16 that warps take from
// them. Units of 16 bytes are permuted within 128 bytes so that eight rows of one column, which a
// fragment needs together, lie in different banks.

#include "matrix_view.h"
#include "primitives.cuh"

namespace openelm::cuda {

constexpr int kInputChunks = 4;  // of 8 elements of 16 bits

// Where chunk `chunk` of row `row` stands, in units of 16 bytes.
__device__ inline int input_unit(int row, int chunk) {
  return row * kInputChunks + (chunk ^ (row / 2 % 4));
}

// Rows row .. row + 15, as the two A fragments of the tile's 32 columns.
__device__ inline void load_input(const uint4* tile, int row, uint32_t (&a)[2][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    ldmatrix_x4(a[half], tile + input_unit(row + lane % 16, 2 * half + lane / 16));
  }
}

// A tile of W has
//   kChunks       16-byte pieces in a row;
//   start_copy()  of one of them;
//   load()        the B fragments of rows row .. row + 7 for columns 0-15 and 16-31 of the tile.

struct Tile16 {
  static constexpr int kChunks = kInputChunks;

  __device__ static void start_copy(const MatrixView& w, int row, int k, int tile_row, int chunk,
                                    bool inside, uint4* tile) {
    const uint4* const from =
        static_cast<const uint4*>(w.values) + (size_t(row) * w.stride + k * 32) / 8 + chunk;
    cp_async_16(tile + input_unit(tile_row, chunk), from, inside);
  }
  __device__ static void load(const MatrixView&, const uint4* tile, int, int row, int,
                              uint32_t (&b)[2][2]) {
    const int lane = threadIdx.x % 32;
    uint32_t d[4];
    ldmatrix_x4(d, tile + input_unit(row + lane % 8, lane / 8));
    b[0][0] = d[0];
    b[0][1] = d[1];
    b[1][0] = d[2];
    b[1][1] = d[3];
  }
};

// Bytes 2i and 2i + 1 of `bytes`, less `bias`, times `scale`: exact before the one rounding of the
// product, because 1024 + byte has the byte in the lowest bits of a float16.
__device__ inline uint32_t scaled_pair(uint32_t bytes, int i, __half2 bias, __half2 scale) {
  constexpr uint32_t k1024 = 0x64006400;
  const uint32_t spread = __byte_perm(bytes, k1024, i == 0 ? 0x5150 : 0x5352);
  __half2 pair;
  memcpy(&pair, &spread, sizeof pair);
  pair = __hmul2(__hsub2(pair, bias), scale);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// The scale of row first_row + row + g in the group of columns 32k .. 32k + 31.
__device__ inline __half2 group_scale(const MatrixView& w, int first_row, int row, int k) {
  const int wanted = first_row + row + threadIdx.x % 32 / 4;
  return __half2half2(wanted < w.rows ? __ldg(w.scales + size_t(wanted) * (w.stride / 32) + k)
                                      : __float2half(0));
}

struct TileQ8 {
  static constexpr int kChunks = 2;

  __device__ static int unit(int row, int chunk) { return row * kChunks + (chunk ^ (row / 4 % 2)); }
  __device__ static void start_copy(const MatrixView& w, int row, int k, int tile_row, int chunk,
                                    bool inside, uint4* tile) {
    const uint4* const from =
        static_cast<const uint4*>(w.values) + (size_t(row) * w.stride + k * 32) / 16 + chunk;
    cp_async_16(tile + unit(tile_row, chunk), from, inside);
  }
  __device__ static void load(const MatrixView& w, const uint4* tile, int first_row, int row, int k,
                              uint32_t (&b)[2][2]) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
    const __half2 scale = group_scale(w, first_row, row, k);
    const __half2 bias = __float2half2_rn(1024 + 128);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto* const words = reinterpret_cast<const uint32_t*>(tile + unit(row + g, half));
      const uint32_t bytes = words[t] ^ 0x80808080;  // int8 + 128
      b[half][0] = scaled_pair(bytes, 0, bias, scale);
      b[half][1] = scaled_pair(bytes, 1, bias, scale);
    }
  }
};

struct TileQ4 {
  static constexpr int kChunks = 1;

  __device__ static void start_copy(const MatrixView& w, int row, int k, int tile_row, int,
                                    bool inside, uint4* tile) {
    const uint4* const from =
        static_cast<const uint4*>(w.values) + (size_t(row) * w.stride + k * 32) / 32;
    cp_async_16(&tile[tile_row], from, inside);
  }
  __device__ static void load(const MatrixView& w, const uint4* tile, int first_row, int row, int k,
                              uint32_t (&b)[2][2]) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
    const __half2 scale = group_scale(w, first_row, row, k);
    const __half2 bias = __float2half2_rn(1024 + 8);
    const uint32_t word = reinterpret_cast<const uint32_t*>(&tile[row + g])[t];
    const uint32_t nibbles[2] = {word & 0x0f0f0f0f, word >> 4 & 0x0f0f0f0f};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      b[half][0] = scaled_pair(nibbles[half], 0, bias, scale);
      b[half][1] = scaled_pair(nibbles[half], 1, bias, scale);
    }
  }
};

}  // namespace openelm::cuda
