#include "stream.h"

#include <algorithm>
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
  const auto is_token = [&](int32_t id) { return id >= 0 && id < vocab_size(); };
  if (tokens.empty() || !std::ranges::all_of(tokens, is_token)) {
    throw Error(ErrorCode::kInvalidArgument, "expected at least one token, all of the vocabulary");
  }
  if (tokens.size() > size_t(context_length_ - position_)) {
    throw Error(ErrorCode::kContextOverflow, "the tokens do not fit in the context");
  }
  if (engine_.is_stopping_) std::rethrow_exception(engine_.disposed_);
  job.tokens.assign(tokens.begin(), tokens.end());
  job.held = position_;
  job.asked = int(tokens.size());
  job.tokens.reserve(tokens.size() + kMaxDraftTokens);
  job.results.reserve(kMaxDraftTokens + 2);
  job.mailbox.reserve(job.ahead + 2);
  std::list<std::shared_ptr<Stream>> itself = {shared_from_this()};
  for (const auto& drafter : job.drafter) drafter->begin(engine_.bell_);
  place_ = itself.begin();
  engine_.streams_.splice(engine_.streams_.end(), itself);
  job_ = std::move(job);
  state_ = State::kWaiting;
  engine_.bell_->ring();
}

void Stream::append(Tokens tokens, int first_row, int end_row, UseLogits use) {
  std::lock_guard lock(engine_.mutex_);
  begin(tokens, {.first_row = first_row, .end_row = end_row, .use = std::move(use)});
}

void Stream::draw(Tokens tokens, const std::shared_ptr<Sampler>& sampler, int ahead,
                  std::shared_ptr<TokenMask> mask, std::shared_ptr<Drafter> drafter) {
  std::lock_guard lock(engine_.mutex_);
  const bool is_next = tokens.size() == 1 && tokens[0] == last_token_;
  const bool is_alike = job_.sampler == sampler && job_.mask == mask;
  if (is_next && is_alike && job_.asked == 0 && state_ != State::kStopped) {
    job_.mailbox.reserve(ahead + 2);
    job_.ahead = ahead;
    job_.asked = 1;
    if (state_ == State::kWaiting && job_.has_all()) return end(nullptr);
    engine_.bell_->ring();
    if (!job_.mailbox.empty() && notify) notify();
    return;
  }
  require_idle();
  if (sampler->vocab_size() != vocab_size()) {
    throw Error(ErrorCode::kInvalidArgument, "the sampler is for another vocabulary");
  }
  if (sampler.use_count() > 1) throw Error(ErrorCode::kBusy, "the sampler is in use");
  Job job = {.sampler = sampler, .mask = std::move(mask), .ahead = ahead};
  job.end_row = int(tokens.size());
  job.first_row = job.end_row - 1;
  if (drafter) job.drafter.push_back(std::move(drafter));
  begin(tokens, std::move(job));
}

std::optional<Stream::Result> Stream::take() {
  std::lock_guard lock(engine_.mutex_);
  if (job_.asked == 0 || job_.mailbox.empty()) return {};
  Result result = std::move(job_.mailbox.front());
  job_.mailbox.erase(job_.mailbox.begin());
  if (!result.error) {
    position_ += std::exchange(job_.asked, 0);
    last_token_ = result.sample.token;
  }
  if (state_ == State::kDone && job_.mailbox.empty()) clear();
  return result;
}

void Stream::stop(bool for_good) {
  std::lock_guard lock(engine_.mutex_);
  is_disposed_ = is_disposed_ || for_good;
  job_.mailbox.clear();
  job_.asked = 0;
  if (state_ == State::kIdle || state_ == State::kDone) return clear();
  if (std::exchange(state_, State::kStopped) == State::kWaiting) return end(nullptr);
  const auto is_wanted = [](const auto& stream) { return stream->state_ == State::kInBatch; };
  if (std::ranges::none_of(engine_.streams_, is_wanted)) engine_.cancelled_ = true;
}

void Stream::rewind(int position) {
  std::lock_guard lock(engine_.mutex_);
  require_idle();
  if (position < 0 || position > position_) {
    throw Error(ErrorCode::kInvalidArgument, "expected a position that is not ahead");
  }
  position_ = position;
}

std::shared_ptr<Stream> Stream::fork() {
  rewind(position_);  // throws when this stream cannot be forked
  const std::shared_ptr<Stream> fork = engine_.create_stream(context_length_, adapter_);
  fork->position_ = position_;
  std::lock_guard lock(engine_.mutex_);
  engine_.tasks_.push_back([from = shared_from_this(), to = fork->shared_from_this(),
                            from_cache = cache_, to_cache = fork->cache_, positions = position_] {
    try {
      if (from->failure_) std::rethrow_exception(from->failure_);
      to_cache->copy_from(*from_cache, positions);
    } catch (...) {
      to->failure_ = std::current_exception();
    }
  });
  engine_.bell_->ring();
  return fork;
}

void Stream::end(std::exception_ptr error) {
  const bool is_wanted = std::exchange(state_, State::kDone) != State::kStopped;
  for (const auto& drafter : job_.drafter) drafter->end();
  engine_.old_drafters_.splice(engine_.old_drafters_.end(), job_.drafter);
  if (error) job_.mailbox.push_back({{}, std::move(error)});
  if (!is_wanted) clear();
  if (notify) notify();
  engine_.streams_.erase(place_);
}

// The job is over, and all of it has been taken or is not wanted.
void Stream::clear() {
  state_ = State::kIdle;
  job_ = {};
  if (!is_disposed_ || !cache_) return;
  adapter_ = nullptr;
  engine_.caches_.retire(std::exchange(cache_, nullptr));
  engine_.bell_->ring();
}

}  // namespace openelm
