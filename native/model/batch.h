#pragma once

#include <cstdint>
#include <vector>

#include "../kernel_args.h"

namespace openelm {

class Adapter;
class KvCache;

// The tokens of one forward pass, of one or several sessions: a chunk of a prompt, one token of
// each of many sessions, or both. Tokens of one session stand in order of their positions.
struct Batch {
  std::vector<int32_t> tokens;   // [T]
  std::vector<int> positions;    // [T], in the token's own session
  std::vector<KvCache*> caches;  // [T], of the token's own session
  // [T], of the token's own session: null for the model as it is. Or none at all, when all are.
  std::vector<const Adapter*> adapters;
  std::vector<int> logit_rows;  // [n], ascending: the tokens whose logits are wanted
  std::vector<DrawArgs> draws;  // [n] when a token of each row will do, else none

  int size() const { return static_cast<int>(tokens.size()); }

  // Makes room for so many tokens, which are then added without an allocation.
  void reserve(int size) {
    tokens.reserve(size);
    positions.reserve(size);
    caches.reserve(size);
    adapters.reserve(size);
    logit_rows.reserve(size);
    draws.reserve(size);
  }
  void clear() {
    tokens.clear();
    positions.clear();
    caches.clear();
    adapters.clear();
    logit_rows.clear();
    draws.clear();
  }
};

}  // namespace openelm
