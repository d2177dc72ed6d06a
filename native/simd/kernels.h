#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../dtype.h"

#if defined(__x86_64__) || defined(_M_X64)
#define OPENELM_X86
#elif defined(__aarch64__) || defined(_M_ARM64)
#define OPENELM_ARM64
#endif

namespace openelm {

// The inner loops of the CPU backend, compiled once for each instruction set and chosen at run
// time.
//
// Packed matrices. A matrix [rows, cols] is stored as panels of kPanelRows rows, the last one
// padded with zeros, each panel contiguous:
//   float32, float16: for each column, the 16 weights of the panel's rows. One more column of zeros
//     stands at the end if the number of columns is odd.
//   bfloat16: the same for pairs of columns: both of row 0, both of row 1, … so that a shift and a
//     mask of 32-bit lanes widen them.
//   q8, q4: for each group of 32 columns, 16 float16 scales, then the weights, again for pairs of
//     columns. q8: 16 pairs, each two bytes of each row. q4: 4 quads of pairs; a quad is two times
//     16 bits of each row, one for each column of its pairs, the first pair in the low nibbles.
//
// What q8 and q4 weights are multiplied with is quantised too, to 16 bits in the same groups: the
// products are then exact integers, at the speed of 16-bit multiply-adds, and the error that this
// adds is far below that of the weights.
//
// Order of summation. Each output is accumulated by one lane, over ascending columns: in blocks of
// kColumnBlock whose sums are added in order (float weights), or group by group (q8 and q4).
// Nothing else touches it, so the result does not depend on how many tokens, panels or threads
// share the work.
constexpr int kPanelRows = 16;
constexpr int kColumnBlock = 256;

inline int padded_columns(int cols) { return (cols + 1) / 2 * 2; }

// Of a group of 32 columns of a q8 or q4 panel, its scales alone, and of a whole panel.
constexpr int kScaleBytes = kPanelRows * 2;
inline size_t packed_group_bytes(DType dtype) {
  return kScaleBytes + kPanelRows * bytes_of(dtype, kGroupSize);
}
inline size_t packed_panel_bytes(int cols, DType dtype) {
  if (is_quantized(dtype)) return groups_of(cols) * packed_group_bytes(dtype);
  return kPanelRows * bytes_of(dtype, padded_columns(cols));
}

// Attention is computed in partitions of kPartition positions, each with a softmax of its own; they
// are merged in order, whichever threads did them. Keys and values are cached by partition,
// [partition][kv_head], as two packed matrices, so that attention is two matmuls: the keys are
// rows, [kPartition/16 panels][h][16], and the values are columns, [h/16 panels][kPartition][16],
// the last panel padded with zeros. So one token reads its cache in long runs.
constexpr int kPartition = 256;
inline int padded_head_dim(int head_dim) {
  return (head_dim + kPanelRows - 1) / kPanelRows * kPanelRows;
}

// What a matmul multiplies: T rows, for q8 and q4 weights quantised, for the others as float32.
// Float32 rows are packed where there are several: block by block of columns, and in each tile by
// tile of the tokens that the kernel multiplies at once, [columns, tokens]. So it reads them in
// sequence. One row is packed as it is.
struct Input {
  const float* values = nullptr;       // T * cols
  const int16_t* quantized = nullptr;  // [T, groups, 32]
  const float* scales = nullptr;       // [T, groups]
  const int32_t* offsets = nullptr;    // [T, groups]: -8 times the sums of the quantised values
  int cols = 0;
  int groups = 0;
};

// What a softmax over some keys has come to, for some rows.
struct AttentionSums {
  float* values;  // [rows, padded_head_dim(h)]: sum of e^(score - max) * value
  float* max;     // [rows]
  float* total;   // [rows]: sum of e^(score - max)
};

// The queries of consecutive tokens of one session that share a KV head, over one partition.
struct AttentionArgs {
  const float* q;  // [tokens, heads, h], scaled by 1/sqrt(h)
  const void* k;   // the KV head's keys in the partition
  const void* v;
  int tokens;
  int heads;
  int head_dim;
  int positions;  // of the partition that the first token attends to; each next one adds one more,
                  // up to kPartition
  float* scores;  // scratch, [tokens * heads, kPartition]
};

struct Kernels {
  const char* name;

  // y = x / sqrt(mean(x^2) + eps) * weight. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int size, float* y);

  // Rotates x by the angles whose cosines and sines are given, [h/2] each: element j with j + h/2.
  void (*rope)(float* x, const float* cos, const float* sin, int head_dim);

  // One row to groups of 32 int16 with a scale each (padded with zeros), and -8 times their sums.
  void (*quantize_input)(const float* x, int cols, int16_t* quantized, float* scales,
                         int32_t* offsets);

  // Packs block `block` of the columns of x [tokens, cols].
  void (*pack_input)(const float* x, int cols, int tokens, int block, float* packed);

  // y[t * stride + r] = silu(gate_up[t, 32p + r]) * gate_up[t, 32p + 16 + r] for `pairs` panel
  // pairs.
  void (*swiglu)(const float* gate_up, int pairs, float* y);
  void (*silu)(float* x, int size);

  // acc[t, r] = sum over columns of w[r, c] * x[t, c], for the rows r of `panels` panels in
  // sequence; acc is [T, panels * 16]. One for each DType.
  void (*matmul[5])(const void* w, int panels, const Input& x, int tokens, float* acc);

  // One for each DType that a cache may have: kFloat32 and kFloat16.
  void (*attention[2])(const AttentionArgs& args, const AttentionSums& sums);

  // Adds the sums over later keys to those over earlier ones.
  void (*merge_attention)(const AttentionSums& later, int rows, int head_dim,
                          const AttentionSums& sums);

  // Whole rows between float32 and the 16-bit types.
  void (*from_f16)(const uint16_t* x, int size, float* y);
  void (*to_f16)(const float* x, int size, uint16_t* y);

  // <x,q> and <q,q> of a group of 32 for each of kQ4Candidates, of which the inverse scales are
  // given and q are the codes (quantize.h).
  void (*q4_products)(const float* group, const float* inverses, float* dots, float* norms);

  // So many rounds of multiply-adds, as many in each as wait for nothing but those of the round
  // before and keep the multipliers busy. The result is their number in a round.
  float (*multiply_adds)(int rounds);
};

// The best of runnable_kernels(), or the one that the environment variable OPENELM_CPU_KERNELS
// names.
const Kernels& cpu_kernels();

// Those that this processor can run, the best last.
std::vector<const Kernels*> runnable_kernels();

const Kernels* scalar_kernels();
#if defined(OPENELM_X86)
const Kernels* avx2_kernels();
const Kernels* avxvnni_kernels();
const Kernels* avx512_kernels();
#elif defined(OPENELM_ARM64)
const Kernels* neon_kernels();
#endif

}  // namespace openelm
