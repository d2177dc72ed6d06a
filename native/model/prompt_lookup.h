#pragma once

#include <vector>

#include "drafter.h"

namespace openelm {

// Looks for the end of the text further up in it, and drafts what followed there: of use where a
// text repeats itself, or quotes from its prompt (Saxena 2023, "Prompt lookup decoding").
class PromptLookup : public Drafter {
 public:
  explicit PromptLookup(int num_draft_tokens) : Drafter(num_draft_tokens) {
    draft_.reserve(kMaxDraftTokens);
  }

  std::optional<Tokens> draft(int count) override;

 protected:
  void set_text(Tokens text) override { text_.assign(text.begin(), text.end()); }
  void append(Tokens drawn) override { text_.insert(text_.end(), drawn.begin(), drawn.end()); }

 private:
  size_t find() const;

  std::vector<int32_t> text_;
  std::vector<int32_t> draft_;
};

}  // namespace openelm
