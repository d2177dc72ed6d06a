#pragma once

#include <atomic>

#include "../backend.h"

namespace openelm {

// The forward pass.
class Decoder {
 public:
  // Batches hold at most max_tokens tokens. The backend is the decoder's from now on, until another
  // is made. Throws Error{kOutOfMemory}.
  Decoder(Backend& backend, const Weights& weights, int max_tokens);

  // Appends the batch's tokens to their caches (positions of the caches are the caller's to
  // advance). Throws Error{kAborted} soon after `cancelled` becomes true.
  Output forward(const Batch& batch, const std::atomic<bool>& cancelled);

 private:
  Backend& backend_;
  const Weights& weights_;
  Buffer x_;       // [T, d]       the residual stream
  Buffer q_;       // [T, Hq*h]    queries, after RoPE
  Buffer a_;       // [T, Hq*h]    attention output
  Buffer g_;       // [T, f]       FFN activations
  Buffer logits_;  // [n, V]
};

}  // namespace openelm
