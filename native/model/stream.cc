#include "stream.h"

#include <utility>

#include "../error.h"
#include "engine.h"

namespace openelm {

bool Stream::is_idle() const {
  std::lock_guard lock(engine_.mutex_);
  return state_ == State::kIdle;
}

int Stream::vocab_size() const { return engine_.config().vocab_size; }

void Stream::require_idle() const {
  if (is_disposed_) throw Error(ErrorCode::kDisposed, "the session is disposed");
  if (state_ == State::kIdle) return;
  throw Error(ErrorCode::kBusy, "the session already has a call under way");
}

void Stream::begin(Tokens tokens, Job job) {
  require_idle();
  if (tokens.empty()) throw Error(ErrorCode::kInvalidArgument, "expected at least one token");
  for (const int32_t token : tokens) {
    if (token >= 0 && token < vocab_size()) continue;
    throw Error(ErrorCode::kInvalidArgument,
                "token " + std::to_string(token) + " is not in the vocabulary");
  }
  if (tokens.size() > size_t(context_length_ - position_)) {
    throw Error(ErrorCode::kContextOverflow,
                std::to_string(tokens.size()) + " tokens at position " + std::to_string(position_) +
                    " do not fit in a context of " + std::to_string(context_length_));
  }
  tokens_.assign(tokens.begin(), tokens.end());
  mailbox_.reserve(job.ahead + 1);
  engine_.begin(*this);
  held_ = position_;
  appended_ = 0;
  job_ = std::move(job);
  asked_ = int(tokens.size());
}

void Stream::append(Tokens tokens, int first_row, int end_row, UseLogits use) {
  std::lock_guard lock(engine_.mutex_);
  begin(tokens, {first_row, end_row, std::move(use), nullptr, 0});
}

void Stream::draw(Tokens tokens, const std::shared_ptr<Sampler>& sampler, int ahead) {
  std::lock_guard lock(engine_.mutex_);
  const bool is_next = job_.sampler == sampler && tokens.size() == 1 && tokens[0] == last_token_;
  if (is_next && asked_ == 0 && state_ != State::kStopped) {
    mailbox_.reserve(ahead + 1);
    job_.ahead = ahead;
    asked_ = 1;
    if (state_ == State::kWaiting && !has_more()) return engine_.end(*this, nullptr);
    engine_.wake_.notify_one();
    if ((!mailbox_.empty() || state_ == State::kDone) && notify) notify();
    return;
  }
  require_idle();
  if (sampler->vocab_size() != vocab_size()) {
    throw Error(ErrorCode::kInvalidArgument, "the sampler is for another vocabulary");
  }
  if (sampler.use_count() > 1) throw Error(ErrorCode::kBusy, "the sampler is in use");
  const auto use = [this](int, std::span<const float> logits) {
    job_.sampler->accept(tokens_.data(), tokens_.size());
    latest_ = job_.sampler->sample(logits.data(), mask.get());
    if (mask) mask->accept(latest_.token);
  };
  begin(tokens, {int(tokens.size()) - 1, int(tokens.size()), use, sampler, ahead});
}

std::optional<Stream::Result> Stream::take() {
  std::lock_guard lock(engine_.mutex_);
  if (asked_ == 0 || (mailbox_.empty() && state_ != State::kDone)) return {};
  Result result;
  if (mailbox_.empty()) {
    result.error = error_;
    clear();
    return result;
  }
  result.sample = std::move(mailbox_.front());
  mailbox_.erase(mailbox_.begin());
  position_ += std::exchange(asked_, 0);
  last_token_ = result.sample.token;
  if (state_ == State::kDone && mailbox_.empty() && !error_) clear();
  return result;
}

void Stream::stop() {
  std::lock_guard lock(engine_.mutex_);
  if (state_ == State::kIdle) return;
  mailbox_.clear();
  asked_ = 0;
  const State state = std::exchange(state_, State::kStopped);
  if (state == State::kWaiting) return engine_.end(*this, nullptr);
  if (state == State::kDone) return clear();
  engine_.update_cancelled();
}

void Stream::dispose() {
  stop();
  std::lock_guard lock(engine_.mutex_);
  if (!std::exchange(is_disposed_, true) && state_ == State::kIdle) engine_.retire(*this);
}

void Stream::rewind(int position) {
  std::lock_guard lock(engine_.mutex_);
  require_idle();
  if (position < 0 || position > position_) {
    throw Error(ErrorCode::kInvalidArgument,
                "expected a position from 0 to " + std::to_string(position_));
  }
  position_ = position;
}

std::shared_ptr<Stream> Stream::fork() {
  rewind(position_);  // throws when this stream cannot be forked
  const std::shared_ptr<Stream> fork = engine_.create_stream(context_length_);
  fork->position_ = position_;
  fork->adapter = adapter;
  std::lock_guard lock(engine_.mutex_);
  engine_.require_running();
  engine_.tasks_.push_back([from = shared_from_this(), to = fork->shared_from_this(),
                            from_cache = cache_, to_cache = fork->cache_, positions = position_] {
    try {
      if (from->failure_) std::rethrow_exception(from->failure_);
      to_cache->copy_from(*from_cache, positions);
    } catch (...) {
      to->failure_ = std::current_exception();
    }
  });
  engine_.wake_.notify_one();
  return fork;
}

// The job is over, and all of it has been taken or is not wanted.
void Stream::clear() {
  state_ = State::kIdle;
  asked_ = 0;
  job_ = {};
  error_ = nullptr;
  if (is_disposed_) engine_.retire(*this);
}

}  // namespace openelm
