#include "token_tables.h"

#include <algorithm>
#include <utility>

#include "../error.h"

namespace openelm {

static constexpr size_t kLongestToken = UINT16_MAX;

// How many characters a token has; 0 where it is not plain, or has none.
static size_t count_plain(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) {
    const auto byte = [&](size_t at) { return at < text.size() ? uint8_t(text[at]) : 0; };
    const unsigned first = byte(i);
    const bool is_ascii = first < 0x80;
    if (is_ascii && (first < 0x20 || first == '"' || first == '\\')) return 0;
    const size_t length = is_ascii ? 1 : first < 0xe0 ? 2 : 3;
    unsigned character = is_ascii ? first : length == 2 ? first & 0x1f : first & 0xf;
    for (size_t next = 1; next < length; ++next) {
      if ((byte(i + next) & 0xc0) != 0x80) return 0;
      character = character << 6 | (byte(i + next) & 0x3f);
    }
    const unsigned least = is_ascii ? 0 : length == 2 ? 0x80 : 0x800;
    const bool is_surrogate = character >= 0xd800 && character < 0xe000;
    const bool is_first = is_ascii || (first >= 0xc0 && first < 0xf0);
    if (!is_first || character < least || is_surrogate) return 0;
    i += length;
  }
  return count;
}

TokenTables::TokenTables(std::span<const uint8_t> bytes, std::span<const int32_t> ends)
    : vocab_size_(ends.size()), bytes_(bytes.begin(), bytes.end()), begins_(ends.size() + 1) {
  std::vector<int32_t> all, others;
  std::vector<std::vector<int32_t>> plain(1);
  for (size_t i = 0; i < ends.size(); ++i) {
    const bool is_within = ends[i] >= begins_[i] && size_t(ends[i]) <= bytes.size() &&
                           size_t(ends[i] - begins_[i]) < kLongestToken;
    if (!is_within) {
      throw Error(ErrorCode::kInvalidArgument, "the ends of the tokens do not rise");
    }
    begins_[i + 1] = ends[i];
    const auto token = int32_t(i);
    if (text_of(token).empty()) continue;
    all.push_back(token);
    const size_t characters = count_plain(text_of(token));
    if (characters >= plain.size()) plain.resize(characters + 1);
    (characters == 0 ? others : plain[characters]).push_back(token);
  }
  all_ = build(std::move(all));
  others_ = build(std::move(others));
  TokenSet set((vocab_size_ + 31) / 32);
  for (const auto& tokens : plain) {
    for (const int32_t token : tokens) add_token(set, token);
    plain_.push_back(set);
  }
}

std::span<const uint8_t> TokenTables::bytes_of(int32_t token) const {
  if (token < 0 || size_t(token) >= vocab_size_) return {};
  return std::span(bytes_).subspan(begins_[token], begins_[token + 1] - begins_[token]);
}

std::string_view TokenTables::text_of(int32_t token) const {
  const auto bytes = bytes_of(token);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TokenTrie TokenTables::build(std::vector<int32_t> tokens) const {
  std::sort(tokens.begin(), tokens.end(), [&](int32_t a, int32_t b) {
    return std::pair(text_of(a), a) < std::pair(text_of(b), b);
  });
  TokenTrie trie;
  trie.next_tokens.assign(vocab_size_, -1);
  std::vector<int32_t> open;  // the nodes of the text before
  std::string_view before;
  const auto close = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) {
      trie.nodes[open.back()].end = int32_t(trie.nodes.size());
    }
  };
  for (const int32_t token : tokens) {
    const auto text = text_of(token);
    const auto differs = std::mismatch(text.begin(), text.end(), before.begin(), before.end());
    close(size_t(differs.first - text.begin()));
    while (open.size() < text.size()) {
      const auto depth = open.size();
      open.push_back(int32_t(trie.nodes.size()));
      trie.nodes.push_back({uint8_t(text[depth]), uint16_t(depth), 0, -1});
    }
    trie.next_tokens[token] = std::exchange(trie.nodes[open.back()].token, token);
    trie.max_depth = std::max(trie.max_depth, int(text.size()));
    before = text;
  }
  close(0);
  return trie;
}

}  // namespace openelm
