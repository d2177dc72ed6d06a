#pragma once

#include <cstdint>
#include <vector>

#include "../draw_args.h"

namespace openelm {

class Adapter;
class KvCache;

// Consecutive tokens of one session in a batch. Kernels read it as it is.
struct Run {
  int first_token;  // in the batch
  int num_tokens;
  int first_position;  // in the session
};

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

  // Calls visit(run) for the longest runs there are, in order: each token is in one.
  template <typename Visit>
  void for_each_run(const Visit& visit) const {
    for (int first = 0, end = 1; first < size(); first = end++) {
      while (end < size() && follows(end)) ++end;
      visit(Run{first, end - first, positions[first]});
    }
  }

 private:
  bool follows(int token) const {
    return caches[token] == caches[token - 1] && positions[token] == positions[token - 1] + 1;
  }
};

}  // namespace openelm
