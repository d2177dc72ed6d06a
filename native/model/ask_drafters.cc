#include <algorithm>
#include <utility>

#include "engine.h"

namespace openelm {

// Tokens of a batch, those of all streams together, up to which checking drafts pays: beyond, the
// streams share the reading of the weights without drafts.
static constexpr int kMostTokens = 32;

void Engine::ask_drafters(std::unique_lock<std::mutex>& lock) {
  drafting_.clear();
  const int share = kMostTokens / std::max(1, int(streams_.size())) - 1;
  for (const auto& stream : streams_) {
    if (stream->state_ != State::kWaiting || drafting_.size() == drafting_.capacity()) continue;
    const int room = stream->context_length_ - stream->job_.held - 1;
    const int count = stream->job_.draft_length(std::min(share, room));
    if (count == 0) continue;
    stream->state_ = State::kInBatch;
    drafting_.emplace_back(stream.get(), count);
  }
  if (drafting_.empty()) return;
  lock.unlock();
  for (const auto& [stream, count] : drafting_) {
    stream->job_.ask_drafter(count, config_.vocab_size);
  }
  lock.lock();
  for (const auto& [stream, count] : drafting_) {
    if (stream->state_ == State::kStopped) {
      stream->end(nullptr);
    } else {
      stream->state_ = State::kWaiting;
    }
  }
}

}  // namespace openelm
