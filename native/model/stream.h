#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "job.h"
#include "kv_cache.h"

namespace openelm {

struct Adapter;
class Engine;

// One KV cache, and what is being done with it: one job at a time, by the engine's thread. All
// calls come from one thread, that of the stream's owner. They throw Error{kBusy} while a job is
// under way, unless they say otherwise, and kDisposed after dispose().
//
// A job appends its tokens, and throws Error{kInvalidArgument, kContextOverflow} when it cannot. It
// is over when take() has given its last result or its error, or when stop() has ended it; a job
// that failed or was stopped leaves the position where it was.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  using Tokens = Job::Tokens;
  using UseLogits = Job::UseLogits;
  using Result = JobResult;

  // For Engine::create_stream().
  Stream(Engine& engine, int context_length, std::shared_ptr<const Adapter> adapter)
      : context_length_(context_length), engine_(engine), adapter_(std::move(adapter)) {}

  // Called when take() or is_idle() may have something new to say, on the engine's thread or within
  // a call of the owner's. It must not throw and must not call the stream, for the engine is
  // locked. To be set while the stream is idle.
  std::function<void()> notify;

  // Tokens held, but for those behind what has been taken. Both are 0 after dispose().
  int position() const { return is_disposed_ ? 0 : position_; }
  int context_length() const { return is_disposed_ ? 0 : context_length_; }
  bool is_idle() const;
  int vocab_size() const;  // of the model

  // Calls use(row, logits [V]) for the logits after each token in [first_row, end_row), on several
  // threads; what it throws ends the job. It is kept until the stream is idle.
  void append(Tokens tokens, int first_row, int end_row, UseLogits use);

  // Draws the token after these, which is not appended. While `ahead` is above 0 drawing goes on,
  // at most so many tokens beyond the one asked for: each is appended in its turn, as if the caller
  // had asked for the one behind it. To ask is to call this with the token taken last and the same
  // sampler and mask; nobody else may have these until the stream is idle.
  //
  // With a drafter, which knows the text that these tokens end, a batch may append several tokens;
  // the tokens drawn are the same. Drafts are as long as `ahead` lets them be.
  void draw(Tokens tokens, const std::shared_ptr<Sampler>& sampler, int ahead,
            std::shared_ptr<TokenMask> mask = nullptr, std::shared_ptr<Drafter> drafter = nullptr);

  // What was asked for, once it is there. Never throws.
  std::optional<Result> take();

  // Forgets the job, and what it has not given yet. The stream is idle now or, where a batch has to
  // end first, soon. dispose() does so for good, and gives the memory back. Neither throws.
  void stop(bool for_good = false);
  void dispose() { stop(true); }

  // Forgets the tokens from `position` on. Throws Error{kInvalidArgument} for one that is ahead.
  void rewind(int position);

  // Another stream that holds the same. The copy is made before the next job of either; if that
  // fails, so do all jobs of the new stream. Throws Error{kOutOfMemory}.
  std::shared_ptr<Stream> fork();

 private:
  friend class Engine;

  // Of the job: none; not in a batch; in one, or asking its drafter; the same, although nobody
  // wants its result; over but for what is left to take.
  enum class State { kIdle, kWaiting, kInBatch, kStopped, kDone };

  // For callers that hold the engine's mutex. end() may destroy a stream without another owner.
  void require_idle() const;
  void begin(Tokens tokens, Job job);
  void end(std::exception_ptr error);
  void clear();

  // The owner's.
  const int context_length_;
  int position_ = 0;
  int32_t last_token_ = 0;  // taken
  bool is_disposed_ = false;

  // Guarded by the engine's mutex, but for what of a job is the engine's thread's in a batch.
  Engine& engine_;
  std::shared_ptr<KvCache> cache_;          // null once disposed and idle, like
  std::shared_ptr<const Adapter> adapter_;  // which is also null for the model as it is
  State state_ = State::kIdle;
  Job job_;
  std::exception_ptr failure_;  // of the copy that made this stream; the engine's thread's alone
  std::list<std::shared_ptr<Stream>>::iterator place_;  // among those under way
};

}  // namespace openelm
