#include "stream.h"

#include "../error.h"
#include "scheduler.h"

namespace openelm {

bool Stream::is_idle() {
  if (is_stopped_) {
    {
      std::lock_guard lock(scheduler_->mutex_);
      if (is_under_way_) return false;
    }
    clear();
  }
  return std::holds_alternative<Idle>(job_);
}

void Stream::check_idle() {
  if (is_disposed_) throw Error(ErrorCode::kDisposed, "the session is disposed");
  if (!is_idle()) throw Error(ErrorCode::kBusy, "the session already has a call under way");
}

void Stream::check(Tokens tokens) {
  check_idle();
  if (tokens.empty()) throw Error(ErrorCode::kInvalidArgument, "expected at least one token");
  for (const int32_t token : tokens) {
    if (token < 0 || token >= scheduler_->vocab_size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "token " + std::to_string(token) + " is not in the vocabulary");
    }
  }
  if (tokens.size() > size_t(context_length() - position_)) {
    throw Error(ErrorCode::kContextOverflow,
                std::to_string(tokens.size()) + " tokens at position " + std::to_string(position_) +
                    " do not fit in a context of " + std::to_string(context_length()));
  }
}

void Stream::append(Tokens tokens, float* logits, bool all) { begin(tokens, Append{logits, all}); }

void Stream::score(Tokens tokens, int first_target, int top) {
  const int size = int(tokens.size());
  if (first_target < 1 || first_target > size || top < 0 || top > scheduler_->vocab_size()) {
    throw Error(ErrorCode::kInvalidArgument, "expected a first target after the first token");
  }
  begin(tokens, Score(first_target, size_t(size - first_target), top));
}

void Stream::draw(Tokens tokens, const std::shared_ptr<Sampler>& sampler, int ahead) {
  auto* draw = std::get_if<Draw>(&job_);
  if (draw && !is_stopped_ && draw->asked == draw->taken && draw->sampler == sampler &&
      tokens.size() == 1 && tokens[0] == last_token_) {
    return go_on(*draw, ahead);
  }
  check_idle();
  if (sampler->vocab_size() != scheduler_->vocab_size()) {
    throw Error(ErrorCode::kInvalidArgument, "the sampler is for another vocabulary");
  }
  if (sampler.use_count() > 1) throw Error(ErrorCode::kBusy, "the sampler is in use");
  Draw job{sampler, mask, ahead};
  job.mailbox.reserve(ahead + 1);
  begin(tokens, std::move(job));
}

void Stream::begin(Tokens tokens, Job job) {
  check(tokens);
  tokens_.assign(tokens.begin(), tokens.end());
  job_ = std::move(job);
  appended_ = 0;
  held_ = position_;
  try {
    scheduler_->begin(*this);
  } catch (...) {
    clear();
    throw;
  }
}

void Stream::go_on(Draw& draw, int ahead) {
  std::lock_guard lock(scheduler_->mutex_);
  draw.mailbox.reserve(draw.mailbox.size() + ahead + 1);
  draw.ahead = ahead;
  ++draw.asked;
  // What was asked for may be there already; with nothing ahead that was the last of it.
  const bool is_last = ahead == 0 && !draw.can_run();
  if (is_under_way_ && in_batch_ == 0 && is_last) return scheduler_->end(*this, nullptr);
  scheduler_->wake_.notify_one();
  if (!draw.mailbox.empty() || !is_under_way_) scheduler_->tell(*this);
}

// The job is nobody's but the owner's any more.
void Stream::clear() {
  job_ = Idle();
  error_ = nullptr;
  is_stopped_ = false;
  if (is_disposed_) cache_ = nullptr;
}

std::optional<Stream::Result> Stream::take() {
  if (is_idle()) return {};
  std::optional<Result> result;
  {
    std::lock_guard lock(scheduler_->mutex_);
    auto* draw = std::get_if<Draw>(&job_);
    if (draw && !draw->mailbox.empty()) {
      Draw::Drawn& drawn = draw->mailbox.front();
      position_ = drawn.position;
      last_token_ = drawn.sample.token;
      result = std::move(drawn.sample);
      draw->mailbox.erase(draw->mailbox.begin());
      ++draw->taken;
      if (is_under_way_ || !draw->mailbox.empty() || error_) return result;
    } else if (is_under_way_) {
      return {};
    }
  }
  const std::exception_ptr error = error_;
  if (!error && !result) {
    position_ = held_;
    auto* score = std::get_if<Score>(&job_);
    result = score ? Result(std::move(score->scores)) : Result();
  }
  clear();
  if (error) std::rethrow_exception(error);
  return result;
}

void Stream::stop() {
  if (is_idle()) return;
  {
    std::lock_guard lock(scheduler_->mutex_);
    if (auto* draw = std::get_if<Draw>(&job_)) draw->mailbox.clear();
    is_stopped_ = true;
    if (in_batch_ > 0) return scheduler_->update_cancelled();
    if (is_under_way_) scheduler_->end(*this, nullptr);
  }
  clear();
}

void Stream::dispose() {
  is_disposed_ = true;
  stop();
  if (is_idle()) cache_ = nullptr;
}

void Stream::rewind(int position) {
  check_idle();
  if (position < 0 || position > position_) {
    throw Error(ErrorCode::kInvalidArgument,
                "expected a position from 0 to " + std::to_string(position_));
  }
  position_ = position;
}

void Stream::copy(Stream& from) {
  from.check_idle();
  position_ = from.position_;
  adapter = from.adapter;
  scheduler_->copy(*this, from);
}

bool Stream::can_run() const {
  const auto* draw = std::get_if<Draw>(&job_);
  return !draw || draw->can_run();
}

bool Stream::advance() {
  appended_ += in_batch_;
  held_ += in_batch_;
  if (appended_ < int(tokens_.size())) return false;
  auto* draw = std::get_if<Draw>(&job_);
  if (!draw) return true;
  tokens_.assign(1, draw->latest.token);
  appended_ = 0;
  draw->mailbox.push_back({std::move(draw->latest), held_});
  ++draw->drawn;
  if (held_ == cache_->context_length() || (draw->ahead == 0 && !draw->can_run())) return true;
  if (draw->drawn <= draw->asked) scheduler_->tell(*this);
  return false;
}

}  // namespace openelm
