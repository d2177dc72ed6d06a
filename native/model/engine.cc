#include "engine.h"

#include <algorithm>
#include <utility>

#include "../error.h"

namespace openelm {

Engine::Engine(std::shared_ptr<Backend> backend, Weights weights)
    : config_(weights.config),
      backend_(std::move(backend)),
      device_(backend_->device()),
      weights_(std::move(weights)),
      weight_bytes_(weights_.bytes()),
      max_batch_tokens_(backend_->max_batch_tokens()),
      disposed_(std::make_exception_ptr(Error(ErrorCode::kDisposed, "the model is disposed"))),
      decoder_(std::in_place, *backend_, weights_, max_batch_tokens_),
      caches_(backend_, config_),
      adapters_(backend_, weights_) {
  batch_.reserve(max_batch_tokens_);
  batched_.reserve(max_batch_tokens_);
  rows_.reserve(max_batch_tokens_);
  thread_ = std::thread([this] { run(); });
}

void Engine::dispose() {
  std::lock_guard disposing(disposing_);
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    cancelled_ = true;
    wake_.notify_one();
  }
  if (!thread_.joinable()) return;
  thread_.join();
  caches_.clear();
  adapters_.clear();
  decoder_.reset();
  weights_ = Weights();
  weight_bytes_ = 0;
  backend_ = nullptr;
}

void Engine::require_running() const {
  if (is_stopping_) std::rethrow_exception(disposed_);
}

std::shared_ptr<Stream> Engine::create_stream(int context_length) {
  const auto stream = std::make_shared<Stream>(*this, context_length);
  stream->cache_ = caches_.allocate(context_length);
  return {stream.get(), [stream](Stream*) { stream->dispose(); }};
}

void Engine::begin(Stream& stream) {
  require_running();
  stream.place_ = streams_.insert(streams_.end(), stream.shared_from_this());
  stream.state_ = State::kWaiting;
  wake_.notify_one();
}

void Engine::end(Stream& stream, std::exception_ptr error) {
  const bool is_wanted = stream.state_ != State::kStopped;
  stream.state_ = State::kDone;
  stream.error_ = std::move(error);
  if (!is_wanted) stream.clear();
  if (stream.notify) stream.notify();
  streams_.erase(stream.place_);
}

void Engine::retire(Stream& stream) {
  stream.adapter = nullptr;
  caches_.retire(std::exchange(stream.cache_, nullptr));
  has_retired_ = true;
  wake_.notify_one();
}

void Engine::update_cancelled() {
  const auto is_stopped = [](const Stream* stream) { return stream->state_ == State::kStopped; };
  cancelled_ = is_stopping_ || std::all_of(batched_.begin(), batched_.end(), is_stopped);
}

void Engine::run() {
  Lock lock(mutex_);
  while (!is_stopping_) {
    if (!tasks_.empty() || has_retired_) {
      run_tasks(lock);
    } else if (fill_batch()) {
      run_batch(lock);
    } else {
      wake_.wait(lock);
    }
  }
  tasks_.clear();
  while (!streams_.empty()) end(*streams_.front(), disposed_);
}

void Engine::run_tasks(Lock& lock) {
  std::vector<std::function<void()>> tasks;
  tasks.swap(tasks_);
  has_retired_ = false;
  lock.unlock();
  for (const auto& task : tasks) task();
  tasks.clear();  // which may be the last to need a cache
  caches_.free_retired();
  lock.lock();
}

bool Engine::fill_batch() {
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

void Engine::add(Stream& stream, int room) {
  const int begin = stream.appended_;
  stream.appended_ += std::min(int(stream.tokens_.size()) - begin, room);
  if (stream.appended_ == begin) return;
  for (int i = begin; i < stream.appended_; ++i) {
    if (i >= stream.job_.first_row && i < stream.job_.end_row) {
      batch_.logit_rows.push_back(batch_.size());
      rows_.push_back({&stream, i});
    }
    batch_.tokens.push_back(stream.tokens_[i]);
    batch_.positions.push_back(stream.held_ + i);
    batch_.caches.push_back(stream.cache_.get());
    batch_.adapters.push_back(stream.adapter.get());
  }
  stream.state_ = State::kInBatch;
  batched_.push_back(&stream);
}

// For all rows or none: where some logits are read, reading the others too costs next to nothing.
void Engine::add_draws() {
  for (const Row& row : rows_) {
    const Stream& stream = *row.stream;
    Sampler* const sampler = stream.mask ? nullptr : stream.job_.sampler.get();
    const auto args = sampler ? sampler->next_draw() : std::nullopt;
    if (!args) return batch_.draws.clear();
    batch_.draws.push_back(*args);
  }
}

void Engine::run_batch(Lock& lock) {
  update_cancelled();
  lock.unlock();
  std::exception_ptr error;
  try {
    const Output output = decoder_->forward(batch_, cancelled_);
    backend_->run_tasks(int(rows_.size()), [&](int i) { use(rows_[i], i, output); });
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  for (Stream* stream : batched_) {
    if (!stream->error_) stream->error_ = error ? error : stream->failure_;
    finish(*stream);
  }
  batched_.clear();
}

void Engine::use(const Row& row, int index, const Output& output) {
  Stream& stream = *row.stream;
  const Stream::Job& job = stream.job_;
  const size_t vocab_size = size_t(config_.vocab_size);
  try {
    if (!output.tokens) return job.use(row.index, {output.logits + index * vocab_size, vocab_size});
    job.sampler->accept(stream.tokens_.data(), stream.tokens_.size());
    stream.latest_ = job.sampler->take(output.tokens[index]);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!stream.error_) stream.error_ = std::current_exception();
  }
}

void Engine::finish(Stream& stream) {
  if (stream.state_ == State::kStopped) return end(stream, nullptr);
  stream.state_ = State::kWaiting;
  if (is_stopping_) return;  // run() ends it
  if (stream.error_) return end(stream, stream.error_);
  // A prompt keeps its place until all of it is there; a stream that has drawn lets others go
  // first.
  if (stream.appended_ < int(stream.tokens_.size())) return;
  stream.held_ += stream.appended_;
  stream.appended_ = 0;
  stream.tokens_.assign(1, stream.latest_.token);
  stream.job_.first_row = 0;
  stream.job_.end_row = 1;
  stream.mailbox_.push_back(std::move(stream.latest_));
  if (!stream.has_more()) return end(stream, nullptr);
  if (stream.asked_ > 0 && stream.notify) stream.notify();
  streams_.splice(streams_.end(), streams_, stream.place_);
}

}  // namespace openelm
