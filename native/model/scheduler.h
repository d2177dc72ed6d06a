#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "decoder.h"
#include "kv_cache.h"
#include "sampler.h"

namespace openelm {

// Tokens to append to one session, and what to make of the scores they give. Exactly one of the
// three outputs is asked for.
struct Request {
  enum class Output { kLogits, kSample, kScore };

  std::shared_ptr<KvCache> cache;
  std::vector<int32_t> tokens;
  Output output = Output::kLogits;
  bool all_logits = false;           // kLogits: after each token rather than after the last
  float* logits = nullptr;           // kLogits: where they go, [1 or T, V]
  std::shared_ptr<Sampler> sampler;  // kSample
  std::atomic<bool> goes_on{false};  // kSample: whether `done` is to begin the token after it
  int first_target = 0;              // kScore: scores tokens[first_target..] given those before

  // Results. `done` runs on the scheduler's thread, exactly once; `error` is set when it failed,
  // and the cache is then as it was.
  Sample sample;
  double logprob = 0;
  bool is_greedy = true;
  std::exception_ptr error;
  std::function<void(std::shared_ptr<Request>)> done;

  std::atomic<bool> cancelled{false};
  int start = 0;  // the cache's position before the request; submit() sets it

 private:
  friend class Scheduler;
  int next = 0;  // tokens appended so far
  bool wants_logits(int index) const;
};

// Runs the requests of all sessions of a model on a thread of its own, several in one batch. Single
// tokens go first, so that a long prompt does not hold up the sessions that are decoding.
class Scheduler {
 public:
  // The backend must outlive the scheduler; its ops run on the scheduler's thread only.
  Scheduler(Backend& backend, const Weights& weights);
  ~Scheduler();

  // The request must be the only one of its cache. Throws Error{kDisposed} after stop().
  void submit(std::shared_ptr<Request> request);

  // Copies the first `positions` of one cache to another of the same length before any request that
  // is submitted later; should it fail, those of `to` do too. Throws Error{kDisposed} after stop().
  void submit_copy(std::shared_ptr<KvCache> to, std::shared_ptr<KvCache> from, int positions);

  // Makes the request end with Error{kAborted}, if it is still under way: soon, unless it shares a
  // batch with others, which then runs to its end.
  void cancel(Request& request);

  // Ends every request with Error{kDisposed}, and the thread. Idempotent.
  void stop();

 private:
  struct Slice;  // some tokens of one request in a batch
  struct Copy {
    std::shared_ptr<KvCache> to, from;
    int positions;
  };
  void run();
  void run_copies(std::vector<Copy> copies);
  void run_batch();
  void drop_unwanted();
  std::vector<Slice> fill_batch(Batch& batch);
  void update_batch_cancelled();  // the caller holds mutex_
  void add_draws(const std::vector<Slice>& slices, Batch& batch);
  void take_results(const Slice& slice, const Output& output);
  void finish(const std::shared_ptr<Request>& request, std::exception_ptr error);
  void finish_all(std::exception_ptr error);

  const Config& config_;
  const int max_batch_tokens_;
  Decoder decoder_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<std::shared_ptr<Request>> incoming_;  // guarded by mutex_
  std::vector<Copy> copies_;                      // guarded by mutex_
  std::vector<Request*> running_;                 // in the batch under way; guarded by mutex_
  bool stopping_ = false;                         // guarded by mutex_
  std::list<std::shared_ptr<Request>> active_;    // the thread's own
  std::atomic<bool> batch_cancelled_{false};
  std::thread thread_;
};

}  // namespace openelm
