#include "scheduler.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "../error.h"

namespace openelm {

struct Scheduler::Slice {
  std::shared_ptr<Request> request;
  int count;            // tokens of the request in this batch
  int first_logit_row;  // in the batch's logits
};

bool Request::wants_logits(int index) const {
  const int last = static_cast<int>(tokens.size()) - 1;
  switch (output) {
    case Output::kLogits:
      return all_logits || index == last;
    case Output::kSample:
      return index == last;
    case Output::kScore:
      return index + 1 >= first_target && index < last;
  }
  return false;
}

Scheduler::Scheduler(Backend& backend, const Weights& weights)
    : config_(weights.config),
      max_batch_tokens_(backend.max_batch_tokens()),
      decoder_(backend, weights, max_batch_tokens_) {
  thread_ = std::thread([this] { run(); });
}

Scheduler::~Scheduler() { stop(); }

void Scheduler::submit(std::shared_ptr<Request> request) {
  std::lock_guard lock(mutex_);
  if (stopping_) throw Error(ErrorCode::kDisposed, "the model is disposed");
  request->start = request->cache->position;
  incoming_.push_back(std::move(request));
  wake_.notify_one();
}

void Scheduler::submit_copy(std::shared_ptr<KvCache> to, std::shared_ptr<KvCache> from,
                            int positions) {
  std::lock_guard lock(mutex_);
  if (stopping_) throw Error(ErrorCode::kDisposed, "the model is disposed");
  copies_.push_back({std::move(to), std::move(from), positions});
  wake_.notify_one();
}

void Scheduler::cancel(Request& request) {
  std::lock_guard lock(mutex_);
  request.cancelled = true;
  update_batch_cancelled();
}

void Scheduler::update_batch_cancelled() {
  const auto is_cancelled = [](const Request* running) { return running->cancelled.load(); };
  batch_cancelled_ = stopping_ || (!running_.empty() &&
                                   std::all_of(running_.begin(), running_.end(), is_cancelled));
}

void Scheduler::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    update_batch_cancelled();
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Scheduler::run() {
  for (;;) {
    std::vector<Copy> copies;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] {
        return stopping_ || !copies_.empty() || !incoming_.empty() || !active_.empty();
      });
      active_.splice(active_.end(), incoming_);
      copies.swap(copies_);
      if (stopping_) break;
    }
    run_copies(std::move(copies));
    drop_unwanted();
    if (active_.empty()) continue;
    try {
      run_batch();
    } catch (...) {
      finish_all(std::current_exception());
    }
  }
  finish_all(std::make_exception_ptr(Error(ErrorCode::kDisposed, "the model was disposed")));
}

void Scheduler::run_copies(std::vector<Copy> copies) {
  for (const Copy& copy : copies) {
    try {
      if (copy.from->failure) std::rethrow_exception(copy.from->failure);
      copy.to->copy_from(*copy.from, copy.positions);
    } catch (...) {
      copy.to->failure = std::current_exception();
    }
  }
}

void Scheduler::drop_unwanted() {
  const auto aborted = std::make_exception_ptr(Error(ErrorCode::kAborted, "aborted"));
  for (auto next = active_.begin(); next != active_.end();) {
    const std::shared_ptr<Request>& request = *next++;
    if (request->cancelled) {
      finish(request, aborted);
    } else if (request->cache->failure) {
      finish(request, request->cache->failure);
    }
  }
}

std::vector<Scheduler::Slice> Scheduler::fill_batch(Batch& batch) {
  std::vector<std::shared_ptr<Request>> order;
  for (bool single : {true, false}) {
    std::copy_if(active_.begin(), active_.end(), std::back_inserter(order),
                 [=](const auto& request) { return (request->tokens.size() == 1) == single; });
  }
  // However many sessions decode, prompts get on.
  const bool has_prompts = !order.empty() && order.back()->tokens.size() > 1;
  const int most_singles = max_batch_tokens_ - (has_prompts ? max_batch_tokens_ / 8 : 0);
  std::vector<Slice> slices;
  for (const auto& request : order) {
    if (request->tokens.size() == 1 && batch.size() >= most_singles) continue;
    const int left = static_cast<int>(request->tokens.size()) - request->next;
    const int count = std::min(left, max_batch_tokens_ - batch.size());
    if (count == 0) break;
    slices.push_back({request, count, static_cast<int>(batch.logit_rows.size())});
    for (int i = request->next; i < request->next + count; ++i) {
      if (request->wants_logits(i)) batch.logit_rows.push_back(batch.size());
      batch.tokens.push_back(request->tokens[i]);
      batch.positions.push_back(request->start + i);
      batch.caches.push_back(request->cache.get());
    }
  }
  add_draws(slices, batch);
  return slices;
}

// All rows or none: where some logits are read, reading the others too costs less than another way.
void Scheduler::add_draws(const std::vector<Slice>& slices, Batch& batch) {
  std::vector<DrawArgs> draws;
  for (const Slice& slice : slices) {
    const Request& request = *slice.request;
    const int last = request.next + slice.count - 1;
    if (request.output != Request::Output::kSample) return;
    if (!request.wants_logits(last)) continue;
    const auto draw = request.sampler->next_draw();
    if (!draw) return;
    draws.push_back(*draw);
  }
  batch.draws = std::move(draws);
}

void Scheduler::run_batch() {
  Batch batch;
  const std::vector<Slice> slices = fill_batch(batch);
  {
    std::lock_guard lock(mutex_);
    running_.reserve(slices.size());
    for (const Slice& slice : slices) running_.push_back(slice.request.get());
    update_batch_cancelled();
  }
  Output output;
  std::exception_ptr error;
  try {
    output = decoder_.forward(batch, batch_cancelled_);
  } catch (...) {
    error = std::current_exception();
  }
  {
    std::lock_guard lock(mutex_);
    running_.clear();
    if (stopping_) return;  // run() tells every request
  }
  for (const Slice& slice : slices) {
    if (error) {
      finish(slice.request, error);
    } else if (!slice.request->cancelled) {
      take_results(slice, output);
    }
  }
}

static double log_probability(const float* logits, int size, int token) {
  const float max = *std::max_element(logits, logits + size);
  double sum = 0;
  for (int i = 0; i < size; ++i) sum += std::exp(double(logits[i]) - max);
  const double result = double(logits[token]) - max - std::log(sum);
  if (std::isnan(result)) throw Error(ErrorCode::kNonFiniteLogits, "a logit is not a number");
  return result;
}

void Scheduler::take_results(const Slice& slice, const Output& output) {
  Request& request = *slice.request;
  const int vocab_size = config_.vocab_size;
  int index = slice.first_logit_row;
  try {
    for (int end = request.next + slice.count; request.next < end; ++request.next) {
      if (!request.wants_logits(request.next)) continue;
      const float* row = output.logits ? output.logits + size_t(index) * vocab_size : nullptr;
      if (request.output == Request::Output::kLogits) {
        request.logits = std::copy(row, row + vocab_size, request.logits);
      } else if (request.output == Request::Output::kSample) {
        request.sampler->accept(request.tokens.data(), request.tokens.size());
        request.sample = output.tokens ? request.sampler->take(output.tokens[index])
                                       : request.sampler->sample(row);
      } else {
        const int target = request.tokens[request.next + 1];
        request.logprob += log_probability(row, vocab_size, target);
        request.is_greedy &= std::max_element(row, row + vocab_size) == row + target;
      }
      ++index;
    }
  } catch (...) {
    return finish(slice.request, std::current_exception());
  }
  request.cache->position = request.start + request.next;
  if (request.next == static_cast<int>(request.tokens.size())) finish(slice.request, nullptr);
}

// A copy of the pointer: erasing it from active_ must not end the request while `done` uses it. The
// cache goes first, so that a disposed session has given its memory back when its call ends.
void Scheduler::finish(const std::shared_ptr<Request>& finished, std::exception_ptr error) {
  const std::shared_ptr<Request> request = finished;
  active_.erase(std::find(active_.begin(), active_.end(), request));
  if (error) request->cache->position = request->start;
  request->error = error;
  request->cache = nullptr;
  request->done(request);
}

void Scheduler::finish_all(std::exception_ptr error) {
  while (!active_.empty()) finish(active_.front(), error);
}

}  // namespace openelm
