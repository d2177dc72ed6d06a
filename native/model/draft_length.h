#pragma once

namespace openelm {

// How many tokens to draft, by how many of the last drafts were right.
//
// Each token of a draft makes the batch that checks it dearer, by a part of what a token costs
// alone, and is of use only when all before it are right. With a share p of right tokens, that is
// so for the n-th with probability p^n. A draft is as long as this is above kWorthWhile. Where not
// even the first token is worth while, one is tried now and then: after 1, 2, 4 and so on tokens.
class DraftLength {
 public:
  explicit DraftLength(int most);

  int most() const { return most_; }
  int wanted() const;

  // Of a draft of `drafted` tokens, perhaps none, the first `accepted` were right.
  void update(int drafted, int accepted);

 private:
  static constexpr double kWorthWhile = 0.3;
  static constexpr double kMemory = 0.85;  // how much a draft counts when another has been checked
  static constexpr int kLongestPause = 64;

  double share() const { return right_ / (right_ + wrong_); }

  int most_;
  double right_ = 3;  // tokens that were checked, of late
  double wrong_ = 1;
  int pause_ = 1;  // tokens without a draft, after the next one that is wrong
  int left_ = 0;   // of a pause
};

}  // namespace openelm
