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
  drafting_.reserve(backend_->max_batch_tokens());
  thread_ = std::thread([this] { run(); });
}

void Engine::dispose() {
  std::lock_guard disposing(disposing_);
  std::unique_lock lock(mutex_);
  is_stopping_ = true;
  cancelled_ = true;
  lock.unlock();
  bell_->ring();
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
    if (tidy(lock)) continue;
    ask_drafters(lock);
    if (fill_batch()) {
      run_batch(lock);
    } else {
      lock.unlock();
      bell_->wait();
      lock.lock();
    }
  }
  while (!streams_.empty()) streams_.front()->end(disposed_);
  tidy(lock);
}

// Does the tasks, and frees what is not needed any more. Returns whether there was anything.
bool Engine::tidy(std::unique_lock<std::mutex>& lock) {
  if (tasks_.empty() && old_drafters_.empty() && !caches_.has_retired()) return false;
  auto tasks = std::exchange(tasks_, {});
  auto drafters = std::exchange(old_drafters_, {});
  lock.unlock();
  for (const auto& task : tasks) task();
  tasks.clear();  // which may be the last to need a cache
  drafters.clear();
  caches_.free_retired();
  lock.lock();
  return true;
}

bool Engine::fill_batch() {
  batch_.clear();
  rows_.clear();
  const auto is_prompt = [](const auto& stream) { return stream->job_.is_prompt(); };
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
  if (streams_.size() == 1 && batch_.size() == 1 && !batch_.draws.empty()) {
    const Job& job = rows_[0]->job_;
    const bool goes_on =
        job.ahead > 0 && job.drafter.empty() && job.held + 2 <= rows_[0]->context_length_;
    if (goes_on) batch_.next_draw = job.sampler->next_draw(1);
  }
  return batch_.size() > 0;
}

void Engine::add(Stream& stream, int room) {
  Job& job = stream.job_;
  job.cut_draft(room - 1);
  const int begin = job.appended;
  job.appended += std::min(int(job.tokens.size()) - begin, room);
  if (job.appended == begin) return;
  for (int i = begin; i < job.appended; ++i) {
    if (i >= job.first_row && i < job.end_row) {
      batch_.logit_rows.push_back(batch_.size());
      rows_.push_back(&stream);
      const bool may_draw = job.sampler && !job.mask;
      const auto draw = may_draw ? job.sampler->next_draw(i - job.first_row) : std::nullopt;
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
  Job& job = stream.job_;
  try {
    if (job.use) {
      const size_t vocab_size = size_t(config_.vocab_size);
      const int position = batch_.positions[batch_.logit_rows[row]];
      job.use(position - job.held, {output.logits + row * vocab_size, vocab_size});
    } else if (row == 0 || rows_[row - 1] != &stream) {  // it draws from all of its rows in order
      job.draw(output, row, config_.vocab_size);
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!job.use || job.results.empty()) job.results.push_back({{}, std::current_exception()});
  }
}

void Engine::finish(Stream& stream, const std::exception_ptr& batch_error) {
  if (stream.state_ == State::kStopped) return stream.end(nullptr);
  stream.state_ = State::kWaiting;
  if (is_stopping_) return;  // run() ends it
  Job& job = stream.job_;
  for (const auto& error : {batch_error, stream.failure_}) {
    if (error) return stream.end(error);
  }
  if (job.results.empty()) {
    // A prompt keeps its place until all of it is there; who has drawn lets others go first.
    if (job.appended < int(job.tokens.size())) return;
    job.results.emplace_back();
  }
  if (const auto error = job.deliver()) return stream.end(error);
  if (job.held == stream.context_length_ || job.has_all()) return stream.end(nullptr);
  if (job.asked > 0 && stream.notify) stream.notify();
  streams_.splice(streams_.end(), streams_, stream.place_);
}

}  // namespace openelm
