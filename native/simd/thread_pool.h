#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace openelm {

// Threads that wait by spinning for a short while and then by parking, so that the joins between
// two ops of a token take a microsecond and an idle model takes no time at all. Between jobs they
// let others have their cores now and then.
class ThreadPool {
 public:
  // `threads` includes the thread that calls run(). Throws std::system_error when the system has no
  // more of them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, thread) for every task in [0, tasks), each once; thread is in [0, threads())
  // and no two calls at a time have the same. A thread's tasks are consecutive, as long as no other
  // has run out of its own. Returns when all are done. One caller at a time; the body must not
  // throw.
  template <typename Body>
  void run(int tasks, const Body& body) {
    for (int first = 0; first < tasks; first += kMaxTasks) {
      const auto shifted = [&](int task, int thread) { body(first + task, thread); };
      const int count = tasks - first < kMaxTasks ? tasks - first : kMaxTasks;
      run_erased(count, &shifted, [](const void* erased, int task, int thread) {
        (*static_cast<decltype(&shifted)>(erased))(task, thread);
      });
    }
  }

 private:
  static constexpr int kTaskBits = 22;
  static constexpr int kMaxTasks = (1 << kTaskBits) - 1;

  using Clock = std::chrono::steady_clock;
  using Call = void (*)(const void* body, int task, int thread);

  // The tasks of a job that one thread has before it: the number of the job in the upper bits, then
  // the first task, then the end. Its thread takes the first task and others, once they have none,
  // the last, by a compare-exchange of the whole, which fails once the job has changed: so a worker
  // that comes late can never run a task of a job that is over, and the caller never waits for one
  // that took none.
  struct alignas(64) Share {
    std::atomic<uint64_t> tasks{0};
    Clock::time_point next_offer;  // of its thread alone
  };

  static uint64_t make_share(uint32_t job, int begin, int end);
  void run_erased(int tasks, const void* body, Call call);
  void run_job(int tasks, const void* body, Call call);
  void join();
  void work(int thread);
  void take_tasks(uint32_t job, int thread);
  bool take_task(Share& share, bool first, uint32_t job, int thread);
  void offer_core(int thread);
  uint32_t await_job(uint32_t last_job);

  std::vector<Share> shares_;  // one a thread
  // They describe the job; they are read before that exchange, which proves them current.
  std::atomic<const void*> body_{nullptr};
  std::atomic<Call> call_{nullptr};
  alignas(64) std::atomic<uint32_t> job_{0};
  alignas(64) std::atomic<int> unfinished_{0};

  alignas(64) std::atomic<int> parked_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace openelm
