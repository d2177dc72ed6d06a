#pragma once

#include <atomic>

#include "../simd/thread_pool.h"

namespace openelm::train {

// Threads whose tasks are left out once a flag is set: an op then ends within one task, and what it
// computed is not to be used.
class TaskPool {
 public:
  // `cancelled` must outlive the pool. Throws as ThreadPool does.
  TaskPool(int threads, const std::atomic<bool>& cancelled)
      : pool_(threads), cancelled_(cancelled) {}

  template <typename Body>
  void run(int tasks, const Body& body) {
    pool_.run(tasks, [&](int task, int thread) {
      if (!cancelled()) body(task, thread);
    });
  }

  // The same with a body that may throw: see ThreadPool.
  template <typename Body>
  void run_throwing(int tasks, const Body& body) {
    pool_.run_throwing(tasks, [&](int task, int thread) {
      if (!cancelled()) body(task, thread);
    });
  }

  // For tasks of many parts, of which the rest may be left out as well.
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // Runs all tasks, for what must not be done by half.
  template <typename Body>
  void run_all(int tasks, const Body& body) {
    pool_.run(tasks, body);
  }

 private:
  ThreadPool pool_;
  const std::atomic<bool>& cancelled_;
};

}  // namespace openelm::train
