#pragma once

#include <cstdint>

#include "../model/rope_table.h"
#include "sequences.h"
#include "workers.h"

namespace openelm::train {

// The ops of training and their gradients. Shapes: T rows, the tokens of all sequences; per layer
// Hq query heads, Hkv key/value heads, head width h, FFN width f; model width d; vocabulary V. All
// matrices are plain row-major.
//
// Of a forward op y = op(x, weight), the backward one is given dy, the gradient of the loss by y.
// It adds the gradient by the weight to dweight, so that batches accumulate; dx is overwritten
// where its comment says `=` and added to where it says `+=`, as the residual stream needs. Where a
// weight is frozen, its dweight is null. Sums over tokens have an order that depends on the lengths
// of the sequences alone: on no number of threads, and not on which sequences come in one call.

// x[t] = weight[tokens[t]]
template <typename T>
void embed(Workers<T>&, const int32_t* tokens, WeightOf<T> weight, int rows, int cols, T* x);
template <typename T>
void embed_backward(Workers<T>&, const int32_t* tokens, const T* dx, int rows, int cols,
                    T* dweight);

// y [rows, out] = x [rows, in] * weight^T, with weight [out, in]
template <typename T>
void linear(Workers<T>&, const T* x, WeightOf<T> weight, int rows, int in, int out, T* y);
// y += x * weight^T
template <typename T>
void linear_add(Workers<T>&, const T* x, WeightOf<T> weight, int rows, int in, int out, T* y);
// dx = dy * weight
template <typename T>
void linear_dx(Workers<T>&, WeightOf<T> weight, const T* dy, int rows, int in, int out, T* dx);
// What linear() or linear_dx() is to multiply the same factor by, and where the result goes.
template <typename T>
struct LinearPart {
  Weight<T> weight;
  int width;  // of the result: out of linear(), in of linear_dx()
  T* result;
};
// The same as two calls of linear(), or of linear_dx(), and faster.
template <typename T>
void linear_both(Workers<T>&, const T* x, int rows, int in, const LinearPart<T>&,
                 const LinearPart<T>&);
template <typename T>
void linear_dx_both(Workers<T>&, const T* dy, int rows, int out, const LinearPart<T>&,
                    const LinearPart<T>&);
// dx += dy * weight
template <typename T>
void linear_dx_add(Workers<T>&, WeightOf<T> weight, const T* dy, int rows, int in, int out, T* dx);
// dweight += dy^T * x
template <typename T>
void linear_dweight(Workers<T>&, const T* x, const T* dy, const RowBlocks& rows, int in, int out,
                    T* dweight);

// y = a + b, row by row
template <typename T>
void add(Workers<T>&, const T* a, const T* b, int rows, int cols, T* y);

// y = x / sqrt(mean(x^2) + eps) * weight, row by row
template <typename T>
void rms_norm(Workers<T>&, const T* x, const T* weight, T eps, int rows, int cols, T* y);
// dx +=
template <typename T>
void rms_norm_backward(Workers<T>&, const T* x, const T* weight, T eps, const T* dy,
                       const RowBlocks& rows, int cols, T* dx, T* dweight);

struct HeadShape {
  int num_query_heads;
  int num_kv_heads;
  int head_dim;

  int q_dim() const { return num_query_heads * head_dim; }
  int kv_dim() const { return num_kv_heads * head_dim; }
  int qk_dim() const { return q_dim() + kv_dim(); }
  int qkv_dim() const { return qk_dim() + kv_dim(); }
};

// qk [T, (Hq+Hkv)*h] = the query and key heads of qkv, normalised each on its own and then rotated
// by their positions. Without q/k norm, the norm weights are null.
template <typename T>
void qk_norm_rope(Workers<T>&, const HeadShape&, const RopeTable<T>&, const T* qkv, const T* q_norm,
                  const T* k_norm, T eps, const Sequences&, T* qk);
// dqkv =, but for its value heads; dqk is used up.
template <typename T>
void qk_norm_rope_backward(Workers<T>&, const HeadShape&, const RopeTable<T>&, const T* qkv,
                           const T* q_norm, const T* k_norm, T eps, T* dqk, const Sequences&,
                           T* dqkv, T* dq_norm, T* dk_norm);

// a [T, Hq*h] = causal grouped-query attention in each sequence, of the heads in qk over the value
// heads in qkv. lse [T, Hq]: what the backward pass needs to find the probabilities again.
template <typename T>
void attention(Workers<T>&, const HeadShape&, const T* qk, const T* qkv, const Sequences&, T* a,
               T* lse);
// dqk =, and the value heads of dqkv =
template <typename T>
void attention_backward(Workers<T>&, const HeadShape&, const T* qk, const T* qkv, const T* a,
                        const T* lse, const T* da, const Sequences&, T* dqk, T* dqkv);

// y [T, f] = silu(gate) * up, with gate_up [T, 2f]; or, without GLU, silu(x) with x [T, f]
template <typename T>
void swiglu(Workers<T>&, bool with_glu, const T* gate_up, int rows, int ffn_dim, T* y);
// dgate_up =
template <typename T>
void swiglu_backward(Workers<T>&, bool with_glu, const T* gate_up, const T* dy, int rows,
                     int ffn_dim, T* dgate_up);

// Of a row of logits: -log p(target), and the logarithm of the sum of the exponentials.
struct TokenLoss {
  double cross_entropy = 0;
  double lse = 0;
};

// The losses of rows of logits [rows, V], which become probabilities.
template <typename T>
void cross_entropy(Workers<T>&, T* logits, const int32_t* targets, int rows, int vocab_size,
                   TokenLoss* losses);
// The same, and the logits become the gradient of the sum of scale * (-log p + z_loss * lse^2).
template <typename T>
void cross_entropy_backward(Workers<T>&, T* logits, const int32_t* targets, const double* scales,
                            int rows, int vocab_size, double z_loss, TokenLoss* losses);

}  // namespace openelm::train
