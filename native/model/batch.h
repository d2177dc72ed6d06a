#pragma once

#include <cstdint>
#include <vector>

#include "../kernel_args.h"

namespace openelm {

class KvCache;

// The tokens of one forward pass, of one or several sessions: a chunk of a prompt, one token of
// each of many sessions, or both. Tokens of one session stand in order of their positions.
struct Batch {
  std::vector<int32_t> tokens;   // [T]
  std::vector<int> positions;    // [T], in the token's own session
  std::vector<KvCache*> caches;  // [T], of the token's own session
  std::vector<int> logit_rows;   // [n], ascending: the tokens whose logits are wanted
  std::vector<DrawArgs> draws;   // [n] when a token of each row will do, else none

  int size() const { return static_cast<int>(tokens.size()); }
};

}  // namespace openelm
