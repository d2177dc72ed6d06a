#include "draft_model.h"

#include <algorithm>

namespace openelm {

DraftModel::DraftModel(Engine& engine, int context_length, int num_draft_tokens)
    : Drafter(num_draft_tokens),
      sampler_(std::make_shared<Sampler>(engine.config().vocab_size, SamplerOptions())),
      stream_(engine.create_stream(context_length)) {
  stream_->notify = [news = news_] {
    std::lock_guard lock(news->mutex);
    if (news->bell) news->bell->ring();
  };
}

void DraftModel::set_bell(const std::shared_ptr<Bell>& bell) {
  std::lock_guard lock(news_->mutex);
  news_->bell = bell;
}

void DraftModel::set_text(Tokens text) {
  std::lock_guard lock(mutex_);
  stop();
  text_.assign(text.begin(), text.end());
}

void DraftModel::append(Tokens drawn) {
  std::lock_guard lock(mutex_);
  stop();
  text_.insert(text_.end(), drawn.begin(), drawn.end());
}

void DraftModel::dispose() {
  std::lock_guard lock(mutex_);
  has_failed_ = true;
  left_ = 0;
  stream_->dispose();
  stream_->notify();  // whoever waits for a draft
}

std::optional<Drafter::Tokens> DraftModel::draft(int count) {
  std::lock_guard lock(mutex_);
  try {
    if (left_ == 0) {
      // What was given up may have to end first.
      if (!has_failed_ && !stream_->is_idle()) return std::nullopt;
      if (!begin_draft(count)) return Tokens();
    }
    while (left_ > 0) {
      if (!go_on()) return std::nullopt;
    }
    return Tokens(cached_).subspan(text_.size());
  } catch (...) {
    has_failed_ = true;
    left_ = 0;
    return Tokens();
  }
}

// Returns whether it could.
bool DraftModel::begin_draft(int count) {
  const int size = int(text_.size());
  // The last token drafted is not appended.
  const int possible = std::min(count, stream_->context_length() - size + 1);
  if (has_failed_ || possible < 1) return false;
  cached_.reserve(text_.size() + kMaxDraftTokens);
  const auto differs = std::ranges::mismatch(text_, cached_).in2;
  const int same = std::min(int(differs - cached_.begin()), size - 1);
  stream_->rewind(std::min(same, stream_->position()));
  cached_ = text_;
  stream_->draw(Tokens(text_).subspan(size_t(stream_->position())), sampler_, possible - 1);
  left_ = possible;
  return true;
}

// Takes a token, if it is there.
bool DraftModel::go_on() {
  const auto result = stream_->take();
  if (!result) return false;
  if (result->error) std::rethrow_exception(result->error);
  cached_.push_back(result->sample.token);
  if (--left_ > 0) stream_->draw(Tokens(cached_).last(1), sampler_, left_ - 1);
  return true;
}

// Gives up the draft under way. What the stream holds, it keeps.
void DraftModel::stop() {
  if (left_ == 0) return;
  left_ = 0;
  stream_->stop();
}

}  // namespace openelm
