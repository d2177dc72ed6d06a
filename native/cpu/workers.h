#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "../simd/thread_pool.h"

namespace openelm::cpu {

// Memory that only grows, and then forgets what it held.
template <typename T>
class Scratch {
 public:
  // At least `size` elements of any values. Throws std::bad_alloc.
  T* reserve(size_t size) {
    if (size > size_) {
      size_ = 0;
      memory_.reset();
      memory_.reset(new T[size]);
      size_ = size;
    }
    return memory_.get();
  }
  T* get() const { return memory_.get(); }

 private:
  std::unique_ptr<T[]> memory_;
  size_t size_ = 0;
};

// The threads of the ops.
struct Workers {
  explicit Workers(int threads) : pool(threads) {}

  // Like ThreadPool::run(), but does no more tasks once the pass is given up.
  template <typename Body>
  void run(int tasks, const Body& body) {
    pool.run(tasks, [&](int task, int thread) {
      if (cancelled->load(std::memory_order_relaxed)) return;
      body(task, thread);
    });
  }

  ThreadPool pool;
  const std::atomic<bool>* cancelled = nullptr;  // of the pass under way
};

}  // namespace openelm::cpu
