#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "../error.h"
#include "bell.h"
#include "draft_length.h"

namespace openelm {

// The longest draft.
constexpr int kMaxDraftTokens = 16;

// Guesses the tokens that a stream draws next: a draft. The stream computes the logits after all of
// them in one batch, which reads the weights once, and draws from these logits in order until a
// token is another than the guess. So a draft decides how many tokens a batch yields, and never
// which.
//
// A stream that draws with it calls it from the thread of its engine, without the engine's lock,
// and nobody else may then call anything but what a class itself allows.
class Drafter {
 public:
  using Tokens = std::span<const int32_t>;

  // Drafts have at most so many tokens, from 1 to kMaxDraftTokens. Throws Error{kInvalidArgument}.
  explicit Drafter(int num_draft_tokens) : length_(num_draft_tokens) {}
  virtual ~Drafter() = default;

  int num_draft_tokens() const { return length_.most(); }

  // Begins with another text. The owner's thread; throws Error{kBusy} while a stream draws with it.
  void start(Tokens text) {
    require_idle();
    length_ = DraftLength(length_.most());
    set_text(text);
  }

  // The length of draft that has been worth while of late, perhaps 0.
  int wanted() const { return length_.wanted(); }

  // The stream has drawn these tokens, which end the text now. Of the last draft, of `drafted`
  // tokens, it has drawn `accepted`.
  void accept(Tokens drawn, int drafted, int accepted) {
    length_.update(drafted, accepted);
    append(drawn);
  }

  // A draft of at most `count` tokens (at least 1), valid until the next call. None while it is not
  // ready: then the bell is rung when it is time to call this again, with the same count. Never
  // throws.
  virtual std::optional<Tokens> draft(int count) = 0;

  // Gives memory back; nothing is drafted any more. Any thread, at any time.
  virtual void dispose() {}

  // Called by a stream of an engine with this bell as it begins and ends to draw with it.
  // Throws Error{kBusy}.
  void begin(const std::shared_ptr<Bell>& bell) {
    require_idle();
    set_bell(bell);
    is_in_use_ = true;
  }
  void end() noexcept { is_in_use_ = false; }

 protected:
  virtual void set_bell(const std::shared_ptr<Bell>& /*bell*/) {}
  virtual void set_text(Tokens text) = 0;
  virtual void append(Tokens drawn) = 0;

 private:
  void require_idle() const {
    if (is_in_use_) throw Error(ErrorCode::kBusy, "a session draws with the drafter");
  }

  DraftLength length_;
  std::atomic<bool> is_in_use_{false};
};

}  // namespace openelm
