#pragma once

#include "dropout.h"
#include "ops.h"

namespace openelm::train {

// What LoRA (Hu et al., 2021) or DoRA (Liu et al., 2024) adds to a matrix W [out, in] of a frozen
// model: with x' = dropout(x), s the scale and u = s * x' * A^T,
//
//   y = x * W^T + u * B^T                          and, with DoRA,
//   y += (g - 1) * (x' * W^T + u * B^T)            where g = m / n, column by column
//
// and n[o] = |W[o] + s * B[o] * A|, which is a constant in the gradient.
template <typename T>
struct LoraTensors {
  int rank = 0;
  T scale = 0;
  int index = 0;         // of the target, among all
  const T* a = nullptr;  // [rank, in]
  const T* b = nullptr;  // [out, rank]
  const T* g = nullptr;  // [out]; none with LoRA
  const T* n = nullptr;  // [out]
  T* da = nullptr;       // of the shapes of a, b and m
  T* db = nullptr;
  T* dm = nullptr;
  T* u = nullptr;  // [T, rank]: what the forward pass leaves for the backward one
  T* v = nullptr;  // [T, out] = x' * W^T + u * B^T, with DoRA
};

// A linear layer of a model that is fine-tuned or trained as a whole.
template <typename T>
struct LinearTensors {
  int in = 0;
  int out = 0;
  Weight<T> weight;                      // [out, in]
  T* dweight = nullptr;                  // none when the weight is frozen
  const LoraTensors<T>* lora = nullptr;  // none without an adapter
};

// Memory that adapted layers share.
template <typename T>
struct LoraScratch {
  T* x = nullptr;   // [T, in]: x after dropout
  T* dx = nullptr;  // [T, in]: the gradient by it
  T* dv = nullptr;  // [T, out]
  T* du = nullptr;  // [T, rank]
};

// y [T, out] =
template <typename T>
void adapted_linear(Workers<T>&, const LinearTensors<T>&, const T* x, int rows, const Dropout&,
                    const LoraScratch<T>&, T* y);
// dx =, unless it is null
template <typename T>
void adapted_linear_backward(Workers<T>&, const LinearTensors<T>&, const T* x, const T* dy,
                             const RowBlocks& rows, const Dropout&, const LoraScratch<T>&, T* dx);

// x += what an adapter of the embedding [V, d] adds to the rows of the tokens: without dropout, and
// never DoRA.
template <typename T>
void lora_embed_add(Workers<T>&, const LoraTensors<T>&, const int32_t* tokens, int rows, int cols,
                    T* x);
template <typename T>
void lora_embed_backward(Workers<T>&, const LoraTensors<T>&, const int32_t* tokens, const T* dx,
                         const RowBlocks& rows, int cols, const LoraScratch<T>&);

// n [out] of DoRA, from norms [out] of the rows of W, without forming W + s * B * A.
template <typename T>
void dora_norms(Workers<T>&, const LinearTensors<T>&, const double* squared_norms, T* n);
// [out]: the squares of the norms of the rows of W.
template <typename T>
void squared_norms(Workers<T>&, const LinearTensors<T>&, double* norms);

}  // namespace openelm::train
