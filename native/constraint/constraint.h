#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../model/sampler.h"
#include "regular.h"
#include "token_tables.h"

namespace openelm {

// The texts that fit a schema or a regular expression, as a machine that reads tokens. What it has
// found out about its states is shared by all texts that follow it, on any threads.
class Constraint {
 public:
  explicit Constraint(std::shared_ptr<const TokenTables> tables);

  const TokenTables& tables() const { return *tables_; }

  // Does something with the machine, alone.
  template <typename Use>
  auto with_regular(const Use& use) {
    std::lock_guard lock(mutex_);
    auto result = use(regular_);
    measure();
    return result;
  }

  // Says which nodes are characters of a plain text: wherever any number of one may come, all plain
  // tokens may. Before any text is followed.
  void set_characters(std::vector<Regular::Node> nodes) { characters_ = std::move(nodes); }

  // What is known has grown so much that the constraint is better made anew. Waits for nobody, like
  // bytes(), about how much it is, and has().
  bool is_large() const { return is_large_; }
  size_t bytes() const { return bytes_; }
  bool has(Regular::Node node) const { return node >= 0 && node < num_nodes_; }

  // A state behind some text: which tokens may follow, whether the text may end there.
  struct Next {
    std::shared_ptr<const TokenSet> tokens;
    bool may_end;
  };
  // Throws Error{kInvalidArgument} when it takes too long to find them.
  Next next(Regular::Node state);

 private:
  std::shared_ptr<const TokenSet> find_tokens(Regular::Node state);
  void walk(const TokenTrie& trie, Regular::Node state, TokenSet& tokens);
  void measure();

  const std::shared_ptr<const TokenTables> tables_;
  std::vector<Regular::Node> characters_;
  std::atomic<int> num_nodes_{0};
  std::atomic<bool> is_large_{false};
  std::atomic<size_t> bytes_{0};

  // Guarded by mutex_.
  std::mutex mutex_;
  Regular regular_;
  std::unordered_map<Regular::Node, std::shared_ptr<const TokenSet>> known_;
  std::deque<Regular::Node> kept_;     // the states of known_, oldest first
  std::vector<Regular::Node> behind_;  // scratch: by depth, the state behind a token's bytes
};

// A text that comes token by token and is to fit a constraint.
class ConstrainedText : public TokenMask {
 public:
  // `ends` are the tokens that end the text, which may come where it is whole.
  ConstrainedText(std::shared_ptr<Constraint> constraint, Regular::Node start,
                  std::vector<int32_t> ends)
      : constraint_(std::move(constraint)), ends_(std::move(ends)), state_(start) {}

  void apply(float* scores, size_t size) override;
  bool accept(int32_t token) override;

 private:
  const std::shared_ptr<Constraint> constraint_;
  const std::vector<int32_t> ends_;
  Regular::Node state_;
};

}  // namespace openelm
