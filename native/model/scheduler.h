#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "decoder.h"
#include "stream.h"

namespace openelm {

// Does the jobs of all streams of a model on a thread of its own, several in one batch. Single
// tokens go first, so that a long prompt does not hold up the streams that are drawing.
//
// Nothing that fails there reaches further than it must: an error in what is made of a stream's
// logits ends the job of that stream, and one in the forward pass those of the batch.
class Scheduler {
 public:
  // Both must stay until stop(). The ops of the backend run on the scheduler's thread only.
  Scheduler(Backend& backend, const Weights& weights);
  ~Scheduler() { stop(); }

  // Ends every job with Error{kDisposed}, and the thread; no job can begin any more. Idempotent.
  // Any thread but the scheduler's.
  void stop();

  int vocab_size() const { return vocab_size_; }

 private:
  friend class Stream;

  // Logits of the batch: those after one token of a stream.
  struct Row {
    Stream* stream;
    int index;
    std::exception_ptr error;
  };
  struct Copy {
    std::shared_ptr<Stream> to, from;
    std::shared_ptr<KvCache> to_cache, from_cache;  // their owners may give them up meanwhile
    int positions;
  };

  // For streams, on the threads of their owners. The first two throw Error{kDisposed} after stop();
  // the caller of the others holds mutex_. end() may destroy a stream that has no other owner.
  void begin(Stream& stream);
  void copy(Stream& to, Stream& from);
  void end(Stream& stream, std::exception_ptr error);
  void tell(Stream& stream) const noexcept;
  void update_cancelled();

  using Lock = std::unique_lock<std::mutex>;
  void run();
  void run_copies(Lock& lock);
  bool fill_batch();
  void add(Stream& stream, int room);
  void add_draws();
  void run_batch(Lock& lock);
  void use(Row& row, const Output& output);
  void finish(Stream& stream);

  Backend& backend_;
  const int vocab_size_;
  const int max_batch_tokens_;
  const std::exception_ptr disposed_;
  std::optional<Decoder> decoder_;
  std::atomic<bool> cancelled_{false};  // the batch

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_. The batch is the thread's own while it runs.
  std::list<std::shared_ptr<Stream>> streams_;  // under way
  std::vector<Copy> copies_;
  bool is_stopping_ = false;
  Batch batch_;
  std::vector<Stream*> batched_;  // the streams in the batch
  std::vector<Row> rows_;
  std::thread thread_;
};

}  // namespace openelm
