#pragma once

#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "job.h"
#include "kv_cache.h"

namespace openelm {

class Adapter;
class Scheduler;

// One KV cache, and what is being done with it: one job at a time, by the scheduler's thread. All
// calls come from one thread, that of the stream's owner.
//
// A job appends its tokens. It is over when take() has given its last result or its error, or when
// stop() has ended it; a job that failed or was stopped leaves the position where it was.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  using Tokens = std::span<const int32_t>;
  using Result = std::variant<std::monostate, Scores, Sample>;

  // Told when take() or is_idle() may have something new to say, on the scheduler's thread or
  // within a call of the owner's. It must not call the stream, for the scheduler is locked.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_news() noexcept = 0;
  };

  // The cache is the stream's alone, and empty.
  Stream(std::shared_ptr<Scheduler> scheduler, std::shared_ptr<KvCache> cache)
      : scheduler_(std::move(scheduler)), cache_(std::move(cache)) {}

  // To be set while the stream is idle.
  std::shared_ptr<Listener> listener;
  std::shared_ptr<const Adapter> adapter;
  std::shared_ptr<TokenMask> mask;  // of what draw() draws

  // Tokens held, but for those behind what has been taken. 0 after dispose(), like
  // context_length().
  int position() const { return is_disposed_ ? 0 : position_; }
  int context_length() const { return is_disposed_ ? 0 : cache_->context_length(); }
  bool is_idle();

  // Throw what a job, or one with these tokens, would: Error{kDisposed, kBusy}, and
  // kInvalidArgument or kContextOverflow.
  void check_idle();
  void check(Tokens tokens);

  // Logits after each token, or the last, go to [T or 1, V], which must stay until the stream is
  // idle.
  void append(Tokens tokens, float* logits, bool all);

  // Scores tokens[first_target..], given those before.
  void score(Tokens tokens, int first_target, int top);

  // Draws the token after these, which is not appended. While `ahead` is above 0 drawing goes on,
  // at most so many tokens beyond the one asked for: each is appended in its turn, as if the caller
  // had asked for the one behind it. To ask is to call this with the token taken last and the same
  // sampler; nobody else may have that until the stream is idle.
  void draw(Tokens tokens, const std::shared_ptr<Sampler>& sampler, int ahead);

  // What was asked for, once it is there. Throws the error of a job that failed.
  std::optional<Result> take();

  // Forgets the job, and what it has not given yet. The stream is idle now or, where a batch has to
  // end first, soon.
  void stop();

  // The same for good: gives the memory back as soon as the stream is idle.
  void dispose();

  // Forgets the tokens from `position` on. Throws Error{kDisposed, kBusy, kInvalidArgument}.
  void rewind(int position);

  // Makes this new stream hold what an idle one of the same length holds, which may go on at once:
  // the copy comes before the next job of either, and should it fail, so do those of this stream.
  void copy(Stream& from);

 private:
  friend class Scheduler;

  void begin(Tokens tokens, Job job);
  void go_on(Draw& draw, int ahead);
  void clear();

  // The scheduler's, while the stream is under way.
  bool can_run() const;
  bool advance();  // whether the job has ended

  // The owner's.
  const std::shared_ptr<Scheduler> scheduler_;
  std::shared_ptr<KvCache> cache_;  // null once its memory is given back
  int position_ = 0;
  int32_t last_token_ = 0;  // taken
  bool is_disposed_ = false;

  // The scheduler's while the stream is under way, else the owner's. What both use meanwhile, the
  // counts and the mailbox of Draw and what follows tokens_, is guarded by the scheduler's mutex.
  Job job_;
  std::vector<int32_t> tokens_;  // that the job is to append now
  int appended_ = 0;             // of them
  int held_ = 0;                 // tokens in the cache
  int in_batch_ = 0;             // tokens in the batch that is running
  bool is_under_way_ = false;
  bool is_stopped_ = false;     // the batch that it is in has to end first
  std::exception_ptr error_;    // of the job
  std::exception_ptr failure_;  // of a copy to this stream, and so of every job
  std::list<std::shared_ptr<Stream>>::iterator place_;
};

}  // namespace openelm
