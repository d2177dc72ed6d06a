#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace openelm {

// Bit i % 32 of word i / 32 says whether token i is in it.
using TokenSet = std::vector<uint32_t>;

// Tokens by their bytes: a tree whose nodes stand in depth-first order, so that a walk is a loop
// which passes over what it does not want.
struct TokenTrie {
  struct Node {
    uint8_t byte;
    uint16_t depth;  // how many nodes are above it
    int32_t end;     // the node behind all those below it
    int32_t token;   // the first of those that end at it, or -1
  };
  std::vector<Node> nodes;
  std::vector<int32_t> next_tokens;  // by token, the next one with the same bytes, or -1
  int max_depth = 0;
};

// A vocabulary as constraints look at it.
class TokenTables {
 public:
  // `bytes` has the UTF-8 of all tokens, that of token i from ends[i - 1] to ends[i]; nothing for
  // those that have no text. Throws Error{kInvalidArgument} unless the ends rise within it.
  TokenTables(std::span<const uint8_t> bytes, std::span<const int32_t> ends);

  size_t vocab_size() const { return vocab_size_; }
  std::span<const uint8_t> bytes_of(int32_t token) const;

  const TokenTrie& all() const { return all_; }
  const TokenTrie& others() const { return others_; }  // all tokens but plain ones
  // The plain tokens, those that anywhere in a JSON string are nothing but whole characters of it,
  // all of the Basic Multilingual Plane: by n, those of at most n characters.
  const std::vector<TokenSet>& plain() const { return plain_; }

 private:
  TokenTrie build(std::vector<int32_t> tokens) const;
  std::string_view text_of(int32_t token) const;

  size_t vocab_size_;
  std::vector<uint8_t> bytes_;
  std::vector<int32_t> begins_;  // [vocab_size + 1], in bytes_
  TokenTrie all_, others_;
  std::vector<TokenSet> plain_;
};

inline void add_token(TokenSet& set, int32_t token) { set[token / 32] |= 1u << (token % 32); }

}  // namespace openelm
