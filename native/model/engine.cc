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
      disposed_(std::make_exception_ptr(Error(ErrorCode::kDisposed, "the model is disposed"))),
      decoder_(std::in_place, *backend_, weights_, backend_->max_batch_tokens()),
      caches_(backend_, config_),
      adapters_(backend_, weights_) {
  batch_.reserve(backend_->max_batch_tokens());
  rows_.reserve(backend_->max_batch_tokens());
  thread_ = std::thread([this] { run(); });
}

void Engine::dispose() {
  std::lock_guard disposing(disposing_);
  std::unique_lock lock(mutex_);
  is_stopping_ = true;
  cancelled_ = true;
  lock.unlock();
  wake_.notify_one();
  if (!thread_.joinable()) return;
  thread_.join();
  caches_.clear();
  adapters_.clear();
  decoder_.reset();
  weights_ = Weights();
  weight_bytes_ = 0;
  backend_ = nullptr;
}

std::shared_ptr<Stream> Engine::create_stream(int context_length,
                                              std::shared_ptr<const Adapter> adapter) {
  const auto stream = std::make_shared<Stream>(*this, context_length, std::move(adapter));
  stream->cache_ = caches_.allocate(context_length);
  return {stream.get(), [engine = shared_from_this(), stream](Stream*) { stream->dispose(); }};
}

void Engine::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    if (!tasks_.empty() || caches_.has_retired()) {
      auto tasks = std::exchange(tasks_, {});
      lock.unlock();
      for (const auto& task : tasks) task();
      tasks.clear();  // which may be the last to need a cache
      caches_.free_retired();
      lock.lock();
    } else if (fill_batch()) {
      run_batch(lock);
    } else {
      wake_.wait(lock);
    }
  }
  while (!streams_.empty()) streams_.front()->end(disposed_);
}

bool Engine::fill_batch() {
  batch_.clear();
  rows_.clear();
  const auto is_prompt = [](const auto& stream) { return stream->job_.tokens.size() > 1; };
  // However many sessions decode, prompts get on.
  const bool has_prompts = std::any_of(streams_.begin(), streams_.end(), is_prompt);
  const int most = backend_->max_batch_tokens();
  const int most_singles = most - (has_prompts ? most / 8 : 0);
  for (const auto& stream : streams_) {
    if (!is_prompt(stream) && stream->job_.can_run()) add(*stream, most_singles - batch_.size());
  }
  for (const auto& stream : streams_) {
    if (is_prompt(stream)) add(*stream, most - batch_.size());
  }
  // For all rows or none: where some logits are read, reading the others too costs next to nothing.
  if (batch_.draws.size() < rows_.size()) batch_.draws.clear();
  return batch_.size() > 0;
}

void Engine::add(Stream& stream, int room) {
  Stream::Job& job = stream.job_;
  const int begin = job.appended;
  job.appended += std::min(int(job.tokens.size()) - begin, room);
  if (job.appended == begin) return;
  for (int i = begin; i < job.appended; ++i) {
    if (i >= job.first_row && i < job.end_row) {
      batch_.logit_rows.push_back(batch_.size());
      rows_.push_back(&stream);
      const bool may_draw = job.sampler && !job.mask;
      const auto draw = may_draw ? job.sampler->next_draw() : std::nullopt;
      if (draw) batch_.draws.push_back(*draw);
    }
    batch_.tokens.push_back(job.tokens[i]);
    batch_.positions.push_back(job.held + i);
    batch_.caches.push_back(stream.cache_.get());
    batch_.adapters.push_back(stream.adapter_.get());
  }
  stream.state_ = State::kInBatch;
}

void Engine::run_batch(std::unique_lock<std::mutex>& lock) {
  cancelled_ = false;
  lock.unlock();
  std::exception_ptr error;
  try {
    const Output output = decoder_->forward(batch_, cancelled_);
    backend_->run_tasks(int(rows_.size()), [&](int row) { use(row, output); });
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  for (auto next = streams_.begin(); next != streams_.end();) {
    Stream& stream = **next++;
    if (stream.state_ == State::kInBatch || stream.state_ == State::kStopped) finish(stream, error);
  }
}

void Engine::use(int row, const Output& output) {
  Stream& stream = *rows_[row];
  Stream::Job& job = stream.job_;
  const size_t vocab_size = size_t(config_.vocab_size);
  const float* const logits = output.tokens ? nullptr : output.logits + row * vocab_size;
  try {
    if (job.use) {
      const int position = batch_.positions[batch_.logit_rows[row]];
      return job.use(position - job.held, {logits, vocab_size});
    }
    job.sampler->accept(job.tokens.data(), job.tokens.size());
    job.latest.sample = output.tokens ? job.sampler->take(output.tokens[row])
                                      : job.sampler->sample(logits, job.mask.get());
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!job.latest.error) job.latest.error = std::current_exception();
  }
}

void Engine::finish(Stream& stream, const std::exception_ptr& batch_error) {
  if (stream.state_ == State::kStopped) return stream.end(nullptr);
  stream.state_ = State::kWaiting;
  if (is_stopping_) return;  // run() ends it
  Stream::Job& job = stream.job_;
  for (const auto& error : {job.latest.error, batch_error, stream.failure_}) {
    if (error) return stream.end(error);
  }
  // A prompt keeps its place until all of it is there; who has drawn lets others go first.
  if (job.appended < int(job.tokens.size())) return;
  job.held += std::exchange(job.appended, 0);
  job.tokens.assign(1, job.latest.sample.token);
  job.first_row = 0;
  job.end_row = 1;
  job.mailbox.push_back(std::move(job.latest));
  if (job.held == stream.context_length_ || job.has_all()) return stream.end(nullptr);
  if (job.asked > 0 && stream.notify) stream.notify();
  streams_.splice(streams_.end(), streams_, stream.place_);
}

}  // namespace openelm
