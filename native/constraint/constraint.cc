#include "constraint.h"

#include <algorithm>

namespace openelm {

// The sets of tokens that a constraint keeps, in words.
static constexpr size_t kKeptWords = 1 << 22;
// Derivatives that finding one of them may take.
static constexpr uint64_t kMaxWork = 1 << 20;
static constexpr int kLarge = 1 << 18;

Constraint::Constraint(std::shared_ptr<const TokenTables> tables)
    : tables_(std::move(tables)),
      behind_(std::max(tables_->all().max_depth, tables_->others().max_depth) + 1) {}

void Constraint::measure() {
  constexpr size_t kNodeBytes = 40;
  num_nodes_ = regular_.size();
  is_large_ = regular_.size() > kLarge || regular_.num_words() > 16 * kLarge;
  bytes_ = regular_.size() * kNodeBytes + regular_.num_words() * 4 + regular_.num_rows() * 1024 +
           known_.size() * ((tables_->vocab_size() + 31) / 32) * 4;
}

Constraint::Next Constraint::next(Regular::Node state) {
  std::lock_guard lock(mutex_);
  const auto known = known_.find(state);
  return {known == known_.end() ? find_tokens(state) : known->second, regular_.accepts(state)};
}

std::shared_ptr<const TokenSet> Constraint::find_tokens(Regular::Node state) {
  const auto& plain = tables_->plain();
  const int longest = int(plain.size()) - 1;
  const auto room = regular_.room_for(state, characters_);
  const auto tokens = std::make_shared<TokenSet>(plain[std::min(room.most, longest)]);
  // A plain token that is longer than the room for text may have another way.
  const bool has_all = room.most > 0 && (room.most >= longest || room.least > 0);
  walk(has_all ? tables_->others() : tables_->all(), state, *tokens);
  if (known_.size() * tokens->size() >= kKeptWords) {
    known_.erase(kept_.front());
    kept_.pop_front();
  }
  known_.emplace(state, tokens);
  kept_.push_back(state);
  measure();
  return tokens;
}

void Constraint::walk(const TokenTrie& trie, Regular::Node state, TokenSet& tokens) {
  const uint64_t most_work = regular_.work() + kMaxWork;
  behind_[0] = state;
  const auto num_nodes = int32_t(trie.nodes.size());
  for (int32_t i = 0; i < num_nodes;) {
    const TokenTrie::Node& node = trie.nodes[i];
    const Regular::Node next = regular_.step(behind_[node.depth], node.byte);
    if (next == Regular::kEmpty) {
      i = node.end;
      continue;
    }
    if (regular_.work() > most_work) {
      throw too_complex("what may come next takes too long to find");
    }
    behind_[node.depth + 1] = next;
    for (int32_t token = node.token; token >= 0; token = trie.next_tokens[token]) {
      add_token(tokens, token);
    }
    ++i;
  }
}

void ConstrainedText::apply(float* scores, size_t size) {
  const auto [found, may_end] = constraint_->next(state_);
  TokenSet tokens = *found;
  for (const int32_t end : ends_) {
    const uint32_t bit = 1u << (end % 32);
    tokens[end / 32] = may_end ? tokens[end / 32] | bit : tokens[end / 32] & ~bit;
  }
  if (std::all_of(tokens.begin(), tokens.end(), [](uint32_t word) { return word == 0; })) {
    throw ConstraintError(
        "no token of the vocabulary goes on with what options.responseConstraint wants");
  }
  keep_scores(tokens, scores, size);
}

bool ConstrainedText::accept(int32_t token) {
  if (std::find(ends_.begin(), ends_.end(), token) != ends_.end()) return true;
  return constraint_->with_regular([&](Regular& regular) {
    state_ = regular.read(state_, constraint_->tables().bytes_of(token));
    return !regular.is_complete(state_);
  });
}

}  // namespace openelm
