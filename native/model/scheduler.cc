#include "scheduler.h"

#include <algorithm>

#include "../error.h"

namespace openelm {

Scheduler::Scheduler(Backend& backend, const Weights& weights)
    : backend_(backend),
      vocab_size_(weights.config.vocab_size),
      max_batch_tokens_(backend.max_batch_tokens()),
      disposed_(std::make_exception_ptr(Error(ErrorCode::kDisposed, "the model is disposed"))),
      decoder_(std::in_place, backend, weights, max_batch_tokens_) {
  batch_.reserve(max_batch_tokens_);
  batched_.reserve(max_batch_tokens_);
  rows_.reserve(max_batch_tokens_);
  thread_ = std::thread([this] { run(); });
}

void Scheduler::stop() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    cancelled_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Scheduler::begin(Stream& stream) {
  std::list<std::shared_ptr<Stream>> node(1, stream.shared_from_this());
  std::lock_guard lock(mutex_);
  if (is_stopping_) std::rethrow_exception(disposed_);
  if (stream.failure_) std::rethrow_exception(stream.failure_);
  stream.place_ = node.begin();
  stream.is_under_way_ = true;
  streams_.splice(streams_.end(), node);
  wake_.notify_one();
}

void Scheduler::copy(Stream& to, Stream& from) {
  Copy copy{to.shared_from_this(), from.shared_from_this(), to.cache_, from.cache_, to.position_};
  std::lock_guard lock(mutex_);
  if (is_stopping_) std::rethrow_exception(disposed_);
  copies_.push_back(std::move(copy));
  wake_.notify_one();
}

void Scheduler::end(Stream& stream, std::exception_ptr error) {
  stream.error_ = std::move(error);
  stream.in_batch_ = 0;
  stream.is_under_way_ = false;
  tell(stream);
  streams_.erase(stream.place_);
}

void Scheduler::tell(Stream& stream) const noexcept {
  if (stream.listener) stream.listener->on_news();
}

void Scheduler::update_cancelled() {
  const auto is_stopped = [](const Stream* stream) { return stream->is_stopped_; };
  cancelled_ = is_stopping_ || std::all_of(batched_.begin(), batched_.end(), is_stopped);
}

void Scheduler::run() {
  Lock lock(mutex_);
  while (!is_stopping_) {
    if (!copies_.empty()) {
      run_copies(lock);
    } else if (fill_batch()) {
      run_batch(lock);
    } else {
      wake_.wait(lock);
    }
  }
  copies_.clear();
  while (!streams_.empty()) end(*streams_.front(), disposed_);
  decoder_.reset();
}

void Scheduler::run_copies(Lock& lock) {
  std::vector<Copy> copies;
  copies.swap(copies_);
  lock.unlock();
  for (const Copy& copy : copies) {
    std::exception_ptr failure = copy.from->failure_;
    try {
      if (!failure) copy.to_cache->copy_from(*copy.from_cache, copy.positions);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) continue;
    std::lock_guard relock(mutex_);
    copy.to->failure_ = failure;
    if (copy.to->is_under_way_) end(*copy.to, failure);
  }
  copies.clear();  // it may be the last to hold a cache
  lock.lock();
}

bool Scheduler::fill_batch() {
  batch_.clear();
  rows_.clear();
  const auto is_prompt = [](const auto& stream) { return stream->tokens_.size() > 1; };
  // However many sessions decode, prompts get on.
  const bool has_prompts = std::any_of(streams_.begin(), streams_.end(), is_prompt);
  const int most_singles = max_batch_tokens_ - (has_prompts ? max_batch_tokens_ / 8 : 0);
  for (const auto& stream : streams_) {
    if (!is_prompt(stream) && stream->can_run()) add(*stream, most_singles - batch_.size());
  }
  for (const auto& stream : streams_) {
    if (is_prompt(stream)) add(*stream, max_batch_tokens_ - batch_.size());
  }
  add_draws();
  return batch_.size() > 0;
}

void Scheduler::add(Stream& stream, int room) {
  const int begin = stream.appended_;
  const int size = int(stream.tokens_.size());
  const int end = begin + std::min(size - begin, room);
  for (int i = begin; i < end; ++i) {
    if (std::visit([&](auto& job) { return job.wants_logits(i, size - 1); }, stream.job_)) {
      batch_.logit_rows.push_back(batch_.size());
      rows_.push_back({&stream, i, nullptr});
    }
    batch_.tokens.push_back(stream.tokens_[i]);
    batch_.positions.push_back(stream.held_ + i - begin);
    batch_.caches.push_back(stream.cache_.get());
    batch_.adapters.push_back(stream.adapter.get());
  }
  if (end <= begin) return;
  stream.in_batch_ = end - begin;
  batched_.push_back(&stream);
}

// For all rows or none: where some logits are read, reading the others too costs next to nothing.
void Scheduler::add_draws() {
  for (const Row& row : rows_) {
    const auto* draw = std::get_if<Draw>(&row.stream->job_);
    const auto args = draw && !draw->mask ? draw->sampler->next_draw() : std::nullopt;
    if (!args) return batch_.draws.clear();
    batch_.draws.push_back(*args);
  }
}

void Scheduler::run_batch(Lock& lock) {
  update_cancelled();
  lock.unlock();
  std::exception_ptr error;
  try {
    const Output output = decoder_->forward(batch_, cancelled_);
    backend_.run_tasks(int(rows_.size()), [this, &output](int i) { use(rows_[i], output); });
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  for (Stream* stream : batched_) stream->error_ = error;
  for (Row& row : rows_) {
    if (!row.stream->error_) row.stream->error_ = std::move(row.error);
  }
  for (Stream* stream : batched_) finish(*stream);
  batched_.clear();
}

void Scheduler::use(Row& row, const Output& output) {
  Stream& stream = *row.stream;
  const size_t i = &row - rows_.data();
  try {
    if (output.tokens) {
      std::get<Draw>(stream.job_).use_token(stream.tokens_, output.tokens[i]);
    } else {
      const std::span logits(output.logits + i * vocab_size_, vocab_size_);
      std::visit([&](auto& job) { job.use_logits(row.index, stream.tokens_, logits); },
                 stream.job_);
    }
  } catch (...) {
    row.error = std::current_exception();
  }
}

void Scheduler::finish(Stream& stream) {
  if (stream.is_stopped_) return end(stream, nullptr);
  if (is_stopping_) return;  // run() tells it
  if (stream.error_ || stream.advance()) return end(stream, stream.error_);
  stream.in_batch_ = 0;
  // A prompt keeps its place until all of it is there; a stream that has drawn lets others go
  // first.
  if (stream.appended_ == 0) streams_.splice(streams_.end(), streams_, stream.place_);
}

}  // namespace openelm
