// Matrices of every dtype, read eight elements at a time.
#include <metal_stdlib>

#include "kernel_args.h"

using namespace metal;

// What pipelines are specialised by.
constant uint kMatrixType [[function_constant(0)]];
constant uint kHeadDim [[function_constant(1)]];
constant uint kGroupQueries [[function_constant(2)]];  // query heads that share a KV head
constant uint kCacheHalf [[function_constant(3)]];     // the KV cache is half, not float
constant uint kGlu [[function_constant(4)]];           // rows of proj_1 are gate, up, gate, up, ...
constant uint kQkNorm [[function_constant(5)]];

constant constexpr uint kSimdWidth = 32;

// Before a loop over an array that registers are to hold: its bound must be one that the compiler
// knows before the pipeline is specialised.
#define UNROLL _Pragma("clang loop unroll(full)")

// W [rows, cols] as the host packs it: every row padded with zeros to whole groups of 32, which are
// four chunks of eight elements each. A chunk of q4 is one word: element i is the low nibble of
// byte i, element 4 + i its high nibble.
struct Matrix {
  device const uchar* values;
  device const half* scales;  // one a group, of q8 and q4 only
  uint rows;
  uint chunks;  // in a row
};

static inline Matrix make_matrix(device const uchar* values, device const half* scales,
                                 constant MatrixArgs& args) {
  return Matrix{values, scales, args.rows, args.groups * 4};
}

struct Chunk {
  float4 lo, hi;
};

// Chunk `index`, counted from the first of row 0.
static inline Chunk load_weights(device const uchar* values, device const half* scales,
                                 ulong index) {
  switch (kMatrixType) {
    case kMatrixFloat32: {
      device const float4* at = reinterpret_cast<device const float4*>(values) + 2 * index;
      return Chunk{at[0], at[1]};
    }
    case kMatrixFloat16: {
      device const half4* at = reinterpret_cast<device const half4*>(values) + 2 * index;
      return Chunk{float4(at[0]), float4(at[1])};
    }
    case kMatrixBFloat16: {
      device const ushort4* at = reinterpret_cast<device const ushort4*>(values) + 2 * index;
      return Chunk{as_type<float4>(uint4(at[0]) << 16), as_type<float4>(uint4(at[1]) << 16)};
    }
    case kMatrixQ8: {
      device const char4* at = reinterpret_cast<device const char4*>(values) + 2 * index;
      const float scale = scales[index / 4];
      return Chunk{float4(at[0]) * scale, float4(at[1]) * scale};
    }
    default: {
      const uint word = reinterpret_cast<device const uint*>(values)[index];
      const float scale = scales[index / 4];
      const float4 lo = float4(as_type<uchar4>(word & 0x0f0f0f0f));
      const float4 hi = float4(as_type<uchar4>((word >> 4) & 0x0f0f0f0f));
      return Chunk{(lo - 8.0f) * scale, (hi - 8.0f) * scale};
    }
  }
}

// Elements [8i, 8i + 8) of x [cols], zero beyond its end.
static inline Chunk load_chunk(device const float* x, uint i, uint cols) {
  const uint first = 8 * i;
  if (first + 8 <= cols && cols % 4 == 0) {
    device const float4* at = reinterpret_cast<device const float4*>(x + first);
    return Chunk{at[0], at[1]};
  }
  Chunk chunk = Chunk{float4(0.0f), float4(0.0f)};
  for (uint j = 0; j < 4; ++j) {
    if (first + j < cols) chunk.lo[j] = x[first + j];
    if (first + 4 + j < cols) chunk.hi[j] = x[first + 4 + j];
  }
  return chunk;
}

static inline float silu(float x) { return x / (1.0f + exp(-x)); }
