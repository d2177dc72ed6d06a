#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
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
  // throw: see run_throwing().
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

  // The same with a body that may throw. Once a task has failed, those after it are left out; those
  // before it still run, so that the error thrown in the end is that of the first task that fails,
  // whichever thread was faster.
  template <typename Body>
  void run_throwing(int tasks, const Body& body) {
    FirstError first(tasks);
    run(tasks, [&](int task, int thread) {
      if (task > first.task.load(std::memory_order_relaxed)) return;
      try {
        body(task, thread);
      } catch (...) {
        first.keep(task, std::current_exception());
      }
    });
    if (first.error) std::rethrow_exception(first.error);
  }

 private:
  static constexpr int kTaskBits = 16;  // run() hands over more tasks in several jobs
  static constexpr int kMaxTasks = (1 << kTaskBits) - 1;

  using Clock = std::chrono::steady_clock;
  using Call = void (*)(const void* body, int task, int thread);

  struct FirstError {
    explicit FirstError(int tasks) : task(tasks) {}
    void keep(int failed, std::exception_ptr reason);

    std::atomic<int> task;  // the first that failed so far
    std::mutex mutex;       // guards `error`, and `task` where it is written
    std::exception_ptr error;
  };

  // The tasks of a job that one thread has before it: 32 bits of the number of the job, 16 of the
  // first task, 16 of the end. Its thread takes the first task and others, once they have none, the
  // last, by a compare-exchange of the whole, which fails once the job has changed: so a worker
  // that comes late does not run a task of a job that is over (it would have to be suspended
  // between two instructions while 2^31 jobs run), and the caller never waits for one that took
  // none.
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

  std::vector<Share> shares_;  // one per thread
  // What the job calls. A worker reads them before it takes a task: if they were of another job,
  // the exchange that takes the task would fail.
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
