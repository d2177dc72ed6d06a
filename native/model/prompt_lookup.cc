#include "prompt_lookup.h"

#include <algorithm>

namespace openelm {

// How many tokens have to be the same: that many are enough, and one alone is found everywhere.
static constexpr size_t kLongestMatch = 4;
static constexpr size_t kShortestMatch = 2;

// Where the text goes on behind what is most like its end; among equals the last. At the end of the
// text where nothing is like it.
size_t PromptLookup::find() const {
  const size_t size = text_.size();
  size_t found = size;
  size_t longest = kShortestMatch - 1;
  for (size_t next = size; next-- > 1 && longest < kLongestMatch;) {
    size_t match = 0;
    while (match < std::min(next, kLongestMatch) &&
           text_[next - 1 - match] == text_[size - 1 - match]) {
      ++match;
    }
    if (match <= longest) continue;
    longest = match;
    found = next;
  }
  return found;
}

// Where the text ends, what has been drafted goes on, as in a text that repeats a few tokens for
// ever.
std::optional<Drafter::Tokens> PromptLookup::draft(int count) {
  draft_.clear();
  const size_t found = find();
  for (size_t from = found; found < text_.size() && int(draft_.size()) < count; ++from) {
    draft_.push_back(from < text_.size() ? text_[from] : draft_[from - text_.size()]);
  }
  return draft_;
}

}  // namespace openelm
