#include "thread_pool.h"

#include <chrono>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace openelm {

// Long enough to span the pause between two tokens, short enough not to heat an idle machine.
static constexpr auto kSpin = std::chrono::microseconds(100);

static void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

static constexpr uint32_t kNoTasks = UINT32_MAX;

static uint32_t job_of(uint64_t ticket) { return uint32_t(ticket >> 32); }

ThreadPool::ThreadPool(int threads) {
  try {
    for (int thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { work(thread); });
    }
  } catch (...) {
    join();
    throw;
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::join() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int tasks, const void* body, Call call) {
  if (workers_.empty() || tasks == 1) {
    for (int task = 0; task < tasks; ++task) call(body, task, 0);
    return;
  }
  // First a job without tasks, so that no late worker can take one while the fields change.
  const uint32_t closed = job_of(ticket_.load(std::memory_order_relaxed)) + 1;
  const uint32_t job = closed + 1;
  ticket_.store(uint64_t(closed) << 32 | kNoTasks);
  tasks_.store(uint32_t(tasks), std::memory_order_release);
  body_.store(body, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  unfinished_.store(tasks, std::memory_order_relaxed);
  ticket_.store(uint64_t(job) << 32);
  if (parked_.load() > 0) {
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  take_tasks(job, 0);
  while (unfinished_.load(std::memory_order_acquire) > 0) pause();
}

void ThreadPool::take_tasks(uint32_t job, int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t task = uint32_t(ticket);
    const void* body = body_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    if (job_of(ticket) != job || task >= tasks_.load(std::memory_order_acquire)) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    call(body, int(task), thread);
    unfinished_.fetch_sub(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::work(int thread) {
  uint32_t job = 0;
  while (!stopping_) {
    job = await_job(job);
    take_tasks(job, thread);
  }
}

uint32_t ThreadPool::await_job(uint32_t last_job) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const uint32_t job = job_of(ticket_.load(std::memory_order_acquire));
      if (job != last_job) return job;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);

  std::unique_lock lock(mutex_);
  parked_.fetch_add(1);
  wake_.wait(lock, [&] { return stopping_ || job_of(ticket_.load()) != last_job; });
  parked_.fetch_sub(1);
  return job_of(ticket_.load());
}

}  // namespace openelm
