#pragma once

// What the ops are made of: functions that put kernels into a stream. Pointers are to device memory
// unless they say otherwise; activations are float32, row-major.

#include <cuda_fp16.h>

#include "../backend.h"
#include "matrix_view.h"
#include "runtime.h"

namespace openelm::cuda {

// Where the kernels run.
struct Device {
  const Stream& stream;
  int multiprocessors;
};

// The keys and the values of one session in one layer: [position, Hkv, padded head] of cache
// elements.
struct CachePointers {
  void* k;
  void* v;
  bool operator==(const CachePointers&) const = default;
};

// Heads are filled up with zeros to a width that kernels are compiled for.
constexpr int kMaxHeadDim = 256;
inline int padded_head_dim(int head_dim) {
  return head_dim <= 32 ? 32 : head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : kMaxHeadDim;
}

// Where the step of a position has its draw and its token, for steps that run side by side.
constexpr int kStepsUnderWay = 2;
__host__ __device__ constexpr int slot_of_step(int position) { return position % kStepsUnderWay; }

struct BatchToken {
  int id;
  int position;
  bool operator==(const BatchToken&) const = default;
};

// A batch in device memory.
struct BatchView {
  int num_tokens;               // T
  bool one_per_session;         // each token is the only one of its session; token t's is t
  const BatchToken* tokens;     // [T]
  const int* sessions;          // [T]
  const CachePointers* caches;  // [sessions, num_layers]
  int num_layers;
  const int* lone_tokens;  // those that attention takes one by one, with the keys split
  int num_lone_tokens;
  const Run* runs;  // the others, which attention takes in tiles
  int num_runs;
  int longest_run;
};

// The shape of one layer's attention.
struct AttentionShape {
  int layer;
  int num_query_heads;
  int num_kv_heads;
  int head_dim;
  bool float32_cache;  // or float16
};

// What becomes of a product of a matrix with the input of token t; r are rows of the matrix.
enum class Epilogue : uint8_t {
  kStore,   // y[t, r] = value
  kAdd,     // y[t, r] += value
  kSwiglu,  // y[t, r / 2] = silu(value of row r) * value of row r + 1, for even r
  kSilu,    // y[t, r] = silu(value)
};

// y = epilogue(W norm(x)) for one token: x [cols], at a multiple of 16 bytes, of which up to the
// next multiple can be read.
struct MatvecArgs {
  MatrixView w;
  const float* x;
  const float* norm;  // [cols], the weights of an RMSNorm; none when null
  float eps;
  float* y;
  Epilogue epilogue;
};
void matvec(const Device& device, const MatvecArgs& args);

// The rows of x that matmul() multiplies, normalised and in the element type that suits the matrix.
struct InputArgs {
  const float* x;
  const int* rows;  // which of them; the first num_rows when null
  int num_rows;
  int cols;
  const float* norm;  // as above
  float eps;
  void* input;        // [num_rows, padded cols] float, __half or __nv_bfloat16
  float* row_scales;  // [num_rows]: the input is to be multiplied by them
};
void prepare_input(const Device& device, DType matrix_dtype, const InputArgs& args);

struct MatmulArgs {
  MatrixView w;
  const void* input;
  const float* row_scales;
  int num_rows;
  float* y;
  Epilogue epilogue;
};
void matmul(const Device& device, const MatmulArgs& args);
void matmul_float32(const Device& device, const MatmulArgs& args);

// Products of a layer's qkv_proj, and what it takes to make queries, keys and values of them.
struct QkvHeads {
  const float* products;  // [T, (Hq + 2 Hkv) h]
  const float* q_norm;    // [h], the weights of an RMSNorm; none when null
  const float* k_norm;
  float eps;
  const float2* turns;  // [positions, h / 2]: cosine and sine of RoPE's angles
};

struct AttentionArgs {
  AttentionShape shape;
  QkvHeads heads;    // where it has products, q, k and v are made of them, and k and v appended
  const float* q;    // [T, Hq h], without products
  float* a;          // [T, Hq h]
  float* scratch;    // for lone tokens: [lone token, Hq, splits, padded head + 2]
  int* splits_done;  // [lone token, items of the layer], zeros before and after the kernel
};

// What the scratch and the counters take for any number of lone tokens up to max_tokens.
size_t attention_scratch_bytes(const Device& device, const AttentionShape& shape, int max_tokens);

size_t attention_counters_bytes(const AttentionShape& shape, int max_tokens);

// The tiled kernel, for runs of several tokens and float16 caches.
bool has_tiled_attention(int head_dim, bool float32_cache);
void tiled_attention(const Device& device, const BatchView& batch, const AttentionArgs& args);

// Asks the driver for the shared memory that the kernels need, which it refuses otherwise.
void prepare_matmul();

}  // namespace openelm::cuda
