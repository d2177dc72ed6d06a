#pragma once

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include "check.h"
#include "cpu/cpu_backend.h"
#include "error.h"
#include "model.h"
#include "model/load.h"
#include "tensors.h"

// Streams on a small model whose backend is watched, and can be held in the middle of a batch.
namespace openelm {

inline constexpr int kVocabSize = 97;
inline constexpr int kLength = 200;

inline Config stream_config() { return make_config(44, 8, kVocabSize, {{3, 3, 75}, {4, 2, 32}}); }

// The token at a position of a client's text.
inline int32_t token_of(int client, int position) {
  return int32_t(random_bits(client, position) % kVocabSize);
}

inline std::vector<int32_t> tokens_of(int client, int begin, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(token_of(client, begin + i));
  return tokens;
}

class WatchedBackend : public cpu::CpuBackend {
 public:
  explicit WatchedBackend(int threads) : cpu::CpuBackend(threads, DType::kFloat32) {}

  void begin(const Batch& batch, const std::atomic<bool>& cancelled) override {
    if (on_begin) on_begin();
    cpu::CpuBackend::begin(batch, cancelled);
    std::unique_lock lock(mutex_);
    is_cancelled = &cancelled;
    last_batch = batch;
    thread = std::this_thread::get_id();
    ++batches_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return batches_ < first_held_; });
  }

  void run_tasks(int tasks, const std::function<void(int)>& body) override {
    if (on_logits) on_logits();
    cpu::CpuBackend::run_tasks(tasks, body);
  }

  Buffer allocate(size_t bytes) override {
    if (!occupied.expired()) throw Error(ErrorCode::kOutOfMemory, "a planted lack of memory");
    Buffer buffer = cpu::CpuBackend::allocate(bytes);
    std::lock_guard lock(mutex_);
    last_allocated = buffer.memory;
    return buffer;
  }

  void copy(const Buffer& from, size_t bytes, const Buffer& to) override {
    copying_thread = std::this_thread::get_id();
    if (fails_to_copy) throw Error(ErrorCode::kInternal, "a planted failure");
    cpu::CpuBackend::copy(from, bytes, to);
  }

  // Batches from this one on, counted from 1, wait when they have begun.
  void hold(int batch) {
    std::lock_guard lock(mutex_);
    first_held_ = batch;
    changed_.notify_all();
  }
  void let_go() { hold(std::numeric_limits<int>::max()); }

  // Waits until so many batches have begun.
  void await_batches(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_ >= count; });
  }
  int batches() {
    std::lock_guard lock(mutex_);
    return batches_;
  }

  // Of the last batch, to be looked at while it is held.
  Batch last_batch;
  const std::atomic<bool>* is_cancelled = nullptr;
  std::thread::id thread, copying_thread;  // of the last batch and copy
  std::atomic<bool> fails_to_copy{false};
  std::weak_ptr<void> last_allocated;
  std::weak_ptr<void> occupied;  // while this memory is there, there is no other
  // Run by the thread of the ops as a batch begins, and when its logits are there. To be set while
  // nothing is under way.
  std::function<void()> on_begin, on_logits;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int batches_ = 0;
  int first_held_ = std::numeric_limits<int>::max();
};

// A stream, and a way to wait for it.
class Client {
 public:
  explicit Client(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->notify = [news = news_] { news->tell(); };
  }

  Stream* operator->() const { return stream_.get(); }
  Stream& operator*() const { return *stream_; }

  // What was asked for.
  Sample wait() const {
    for (;;) {
      const int seen = news_->count();
      if (auto result = stream_->take()) {
        if (result->error) std::rethrow_exception(result->error);
        return std::move(result->sample);
      }
      news_->await(seen);
    }
  }
  int wait_for_token() const { return wait().token; }
  void wait_until_idle() const {
    for (;;) {
      const int seen = news_->count();
      if (stream_->is_idle()) return;
      news_->await(seen);
    }
  }

  // Until it has been told for the first time.
  void wait_until_told() const { news_->await(0); }

  // Logits after the last of these tokens, or all of them.
  std::vector<float> append(const std::vector<int32_t>& tokens, bool all = false) const {
    std::vector<float> logits(size_t(all ? tokens.size() : 1) * kVocabSize);
    begin_append(tokens, logits.data(), all);
    wait();
    return logits;
  }

  // The same without waiting, to memory that must stay until the stream is idle.
  void begin_append(const std::vector<int32_t>& tokens, float* logits, bool all = false) const {
    const int size = int(tokens.size());
    const int first_row = all ? 0 : size - 1;
    stream_->append(tokens, first_row, size, [=](int row, std::span<const float> from) {
      std::copy(from.begin(), from.end(), logits + size_t(row - first_row) * kVocabSize);
    });
  }

  Client fork() const { return Client(stream_->fork()); }

  // Draws from here on until there are `count` tokens in all.
  void draw(std::vector<int32_t> prompt, const std::shared_ptr<Sampler>& sampler, int ahead,
            size_t count, std::vector<int32_t>& tokens,
            const std::shared_ptr<TokenMask>& mask = nullptr) const {
    while (tokens.size() < count) {
      stream_->draw(tokens.empty() ? prompt : std::vector{tokens.back()}, sampler, ahead, mask);
      tokens.push_back(wait_for_token());
    }
  }

 private:
  struct News {
    std::mutex mutex;
    std::condition_variable changed;
    int told = 0;

    void tell() {
      std::lock_guard lock(mutex);
      ++told;
      changed.notify_all();
    }
    int count() {
      std::lock_guard lock(mutex);
      return told;
    }
    void await(int seen) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return told > seen; });
    }
  };
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<News> news_ = std::make_shared<News>();
};

struct StreamModel {
  explicit StreamModel(int threads = 2)
      : backend(std::make_shared<WatchedBackend>(threads)),
        engine(std::make_shared<Engine>(backend, load(*backend, config))) {}
  ~StreamModel() {
    backend->let_go();
    engine->dispose();
  }

  Client stream(int length = kLength, std::shared_ptr<const Adapter> adapter = nullptr) const {
    return Client(engine->create_stream(length, std::move(adapter)));
  }

  // Holds the batch in which all jobs are that the body begins, and which has begun. Nothing else
  // may be under way.
  template <typename Body>
  void hold_batch_of(const Body& body) {
    const int next = backend->batches() + 1;
    backend->hold(next);
    const Client other = stream();
    other.begin_append({1}, unused_logits_);
    backend->await_batches(next);
    body();
    backend->hold(next + 1);
    other.wait();
    backend->await_batches(next + 1);
  }

  const Config config = stream_config();
  const std::shared_ptr<WatchedBackend> backend;
  const std::shared_ptr<Engine> engine;

 private:
  static Weights load(Backend& backend, const Config& config) {
    LoadProgress progress(0, nullptr);
    return load_weights(backend, config, make_tensors(config, DType::kFloat32), DType::kFloat32,
                        progress);
  }
  float unused_logits_[kVocabSize];
};

// The code of the Error that the body throws, if it does.
template <typename Body>
std::optional<ErrorCode> code_of(const Body& body) {
  try {
    body();
    return {};
  } catch (const Error& error) {
    return error.code;
  }
}

inline std::shared_ptr<Sampler> make_sampler(double temperature = 1, int logprobs = 0) {
  SamplerOptions options;
  options.temperature = temperature;
  options.seed = 3;
  options.logprobs = logprobs;
  return std::make_shared<Sampler>(kVocabSize, options);
}

}  // namespace openelm
