#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapter.h"
#include "bell.h"
#include "decoder.h"
#include "stream.h"

namespace openelm {

// A model at work: its backend, weights and KV caches, and a thread that does the jobs of all its
// streams, several in one batch. Single tokens go first, so that a long prompt does not hold up the
// streams that are drawing.
//
// Nothing that fails there reaches further than it must: an error in what is made of a stream's
// logits ends the job of that stream, and one in the forward pass those of the batch.
class Engine : public std::enable_shared_from_this<Engine> {
 public:
  // The ops of the backend run on the engine's thread from now on. Throws Error{kOutOfMemory}, and
  // std::system_error where no thread can be started.
  Engine(std::shared_ptr<Backend> backend, Weights weights);
  ~Engine() { dispose(); }

  // Ends every job with Error{kDisposed}, and the thread; no job can begin any more. Gives all
  // memory back. Idempotent. Any thread but the engine's.
  void dispose();

  // An empty stream of the model as the adapter makes it, if there is one. It keeps the engine, and
  // its last owner's end is its dispose(). Throws Error{kOutOfMemory}, and kDisposed after
  // dispose().
  std::shared_ptr<Stream> create_stream(int context_length,
                                        std::shared_ptr<const Adapter> adapter = nullptr);

  Adapters& adapters() { return adapters_; }
  const Config& config() const { return config_; }
  const std::string& device() const { return device_; }
  size_t weight_bytes() const { return weight_bytes_; }  // 0 after dispose(), like
  size_t kv_cache_bytes() const { return caches_.bytes(); }

 private:
  friend class Stream;
  using State = Stream::State;

  void run();
  bool tidy(std::unique_lock<std::mutex>& lock);
  void ask_drafters(std::unique_lock<std::mutex>& lock);
  bool fill_batch();
  void add(Stream& stream, int room);
  void run_batch(std::unique_lock<std::mutex>& lock);
  void use(int row, const Output& output);
  void finish(Stream& stream, const std::exception_ptr& batch_error);

  const Config config_;
  std::shared_ptr<Backend> backend_;
  const std::string device_;
  Weights weights_;
  std::atomic<size_t> weight_bytes_;
  const std::exception_ptr disposed_;
  std::optional<Decoder> decoder_;
  std::atomic<bool> cancelled_{false};  // the batch
  KvCaches caches_;
  Adapters adapters_;
  std::mutex disposing_;  // held until all memory is given back

  std::mutex mutex_;
  const std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();  // rung when there is work
  // Guarded by mutex_. The batch is the thread's own while it runs.
  std::list<std::shared_ptr<Stream>> streams_;        // under way
  std::vector<std::function<void()>> tasks_;          // for the thread, before the next batch
  std::list<std::shared_ptr<Drafter>> old_drafters_;  // which may take locks when they are freed
  bool is_stopping_ = false;
  Batch batch_;
  std::vector<Stream*> rows_;                      // [n], of the batch's logits: whose they are
  std::vector<std::pair<Stream*, int>> drafting_;  // whose drafters are asked, for how many tokens
  std::thread thread_;
};

}  // namespace openelm
