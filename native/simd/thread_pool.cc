#include "thread_pool.h"

#include <algorithm>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace openelm {

// Long enough to span the pause between two tokens, short enough not to heat an idle machine.
static constexpr auto kSpin = std::chrono::microseconds(100);

// How often a thread offers its core at most, and how many times as long as others had it the
// thread then keeps it.
static constexpr auto kOfferInterval = std::chrono::microseconds(400);
static constexpr int kKeep = 4;

static void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("yield");
#endif
}

uint64_t ThreadPool::make_share(uint32_t job, int begin, int end) {
  return uint64_t(job) << 2 * kTaskBits | uint64_t(begin) << kTaskBits | uint64_t(end);
}

ThreadPool::ThreadPool(int threads) : shares_(size_t(threads)) {
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

void ThreadPool::FirstError::keep(int failed, std::exception_ptr reason) {
  std::lock_guard lock(mutex);
  if (failed >= task) return;
  task = failed;
  error = std::move(reason);
}

void ThreadPool::run_erased(int tasks, const void* body, Call call) {
  if (workers_.empty() || tasks == 1) {
    for (int task = 0; task < tasks; ++task) call(body, task, 0);
    return;
  }
  run_job(tasks, body, call);
}

void ThreadPool::run_job(int tasks, const void* body, Call call) {
  // First no share has a task, so that no late worker can take one while the fields change.
  const uint32_t closed = job_.load(std::memory_order_relaxed) + 1;
  const uint32_t job = closed + 1;
  const int threads = int(shares_.size());
  for (Share& share : shares_) share.tasks.store(make_share(closed, 0, 0));
  body_.store(body, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  unfinished_.store(tasks, std::memory_order_relaxed);
  for (int thread = 0; thread < threads; ++thread) {
    const auto boundary = [&](int i) { return int(int64_t(tasks) * i / threads); };
    shares_[thread].tasks.store(make_share(job, boundary(thread), boundary(thread + 1)),
                                std::memory_order_release);
  }
  job_.store(job);
  if (parked_.load() > 0) {
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  take_tasks(job, 0);
  offer_core(0);
  while (unfinished_.load(std::memory_order_acquire) > 0) pause();
}

void ThreadPool::take_tasks(uint32_t job, int thread) {
  const int threads = int(shares_.size());
  int taken = 0;
  for (int i = 0; i < threads; ++i) {
    Share& share = shares_[(thread + i) % threads];
    while (take_task(share, i == 0, job, thread)) ++taken;
  }
  if (taken > 0) unfinished_.fetch_sub(taken, std::memory_order_release);
}

// Runs the first or the last task of the share, if it still has one of this job.
bool ThreadPool::take_task(Share& share, bool first, uint32_t job, int thread) {
  uint64_t tasks = share.tasks.load(std::memory_order_acquire);
  for (;;) {
    const int begin = int(tasks >> kTaskBits) & kMaxTasks;
    const int end = int(tasks) & kMaxTasks;
    const void* body = body_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    if (tasks >> 2 * kTaskBits != job || begin == end) return false;
    const uint64_t rest = first ? make_share(job, begin + 1, end) : make_share(job, begin, end - 1);
    if (!share.tasks.compare_exchange_weak(tasks, rest, std::memory_order_acq_rel)) continue;
    call(body, first ? begin : end - 1, thread);
    return true;
  }
}

void ThreadPool::work(int thread) {
  uint32_t job = 0;
  while (!stopping_) {
    job = await_job(job);
    take_tasks(job, thread);
    offer_core(thread);
  }
}

// Where every core computes, others, like the event loop that a token has woken, may be kept
// waiting for one until the system's next tick, 4 ms on many. So each thread offers its own now and
// then, while nobody waits for a task that it has begun.
void ThreadPool::offer_core(int thread) {
  Clock::time_point& next = shares_[thread].next_offer;
  const Clock::time_point now = Clock::now();
  if (now < next) return;
  std::this_thread::yield();
  const Clock::time_point back = Clock::now();
  next = back + std::max<Clock::duration>(kOfferInterval, kKeep * (back - now));
}

uint32_t ThreadPool::await_job(uint32_t last_job) {
  const auto deadline = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const uint32_t job = job_.load(std::memory_order_acquire);
      if (job != last_job) return job;
      pause();
    }
  } while (Clock::now() < deadline);

  std::unique_lock lock(mutex_);
  parked_.fetch_add(1);
  wake_.wait(lock, [&] { return stopping_ || job_.load() != last_job; });
  parked_.fetch_sub(1);
  return job_.load();
}

}  // namespace openelm
