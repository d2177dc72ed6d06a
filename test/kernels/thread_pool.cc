#include "simd/thread_pool.h"

#include <chrono>
#include <functional>
#include <stdexcept>

#include "check.h"
#include "suites.h"

namespace openelm {

namespace {

constexpr int kMaxTasks = 40;

// Runs jobs of 0 to 40 tasks and checks that each task ran once and that no thread ran two at a
// time. Nothing here is atomic, so that a sanitizer sees whatever the pool does not order.
class Counter {
 public:
  explicit Counter(ThreadPool& pool) : pool_(pool), busy_(pool.threads()) {}

  void run(int tasks) {
    std::fill(counts_, counts_ + kMaxTasks, 0);
    bool overlap = false;
    pool_.run(tasks, [&](int task, int thread) {
      if (busy_[thread].value) overlap = true;
      busy_[thread].value = true;
      ++counts_[task];
      busy_[thread].value = false;
    });
    check(!overlap, "a thread ran two tasks at a time");
    for (int task = 0; task < kMaxTasks; ++task) {
      check(counts_[task] == (task < tasks), "a task did not run exactly once");
    }
  }

 private:
  struct alignas(64) Flag {
    bool value = false;
  };
  ThreadPool& pool_;
  std::vector<Flag> busy_;
  int counts_[kMaxTasks];
};

void sleep(int microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

void test_jobs(int threads) {
  ThreadPool pool(threads);
  check(pool.threads() == threads, "the number of threads");
  Counter counter(pool);
  const bool spare_core = threads <= int(std::thread::hardware_concurrency());
  const int jobs = spare_core ? 200000 : 20000;
  for (int job = 0; job < jobs; ++job) counter.run(job % (kMaxTasks + 1));
}

// Each task waits for all the others to begin, which takes every thread.
void run_together(ThreadPool& pool) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::atomic<int> begun{0};
  pool.run(pool.threads(), [&](int, int) {
    ++begun;
    while (begun < pool.threads() && std::chrono::steady_clock::now() < deadline) sleep(1);
  });
  check(std::chrono::steady_clock::now() < deadline, "a thread was not woken");
}

// Workers spin for 100 microseconds before they park: around there a wake-up could be lost.
void test_parking(int threads) {
  ThreadPool pool(threads);
  Counter counter(pool);
  for (int i = 0; i < 200; ++i) {
    counter.run(2 + i % (kMaxTasks - 1));
    sleep(i % 4 == 0 ? 1000 : 60 + i % 100);
    run_together(pool);
    sleep(60 + i % 90);
  }
}

std::string error_of(ThreadPool& pool, int tasks, const std::function<void(int)>& body) {
  try {
    pool.run_throwing(tasks, [&](int task, int) { body(task); });
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

void test_errors(int threads) {
  ThreadPool pool(threads);
  Counter counter(pool);
  const auto fail = [](int task) { throw std::runtime_error(std::to_string(task)); };
  for (int i = 0; i < 300; ++i) {
    const std::string error = error_of(pool, kMaxTasks, [&](int task) {
      if (task == 23) sleep(i);
      if (task == 23 || task == 24 || task == 39) fail(task);
    });
    check(error == "23", "not the error of the first task that fails but of " + error);
    counter.run(kMaxTasks);
  }
  check(error_of(pool, kMaxTasks, [](int) {}) == "none", "an error without any");
  check(error_of(pool, 0, fail) == "none", "an error without a task");

  constexpr int kSlowTasks = 2000;
  std::atomic<int> begun{0};
  const std::string error = error_of(pool, kSlowTasks, [&](int task) {
    ++begun;
    if (task == 0) fail(task);
    sleep(2000);
  });
  check(error == "0" && begun < kSlowTasks / 2, "tasks ran after one that had failed");
}

void test_destruction(int threads) {
  for (int i = 0; i < 60; ++i) {
    ThreadPool pool(threads);
    Counter counter(pool);
    for (int job = 0; job < i % 3; ++job) counter.run(7);
    if (i % 4) sleep(i * 10);
  }
}

}  // namespace

void test_thread_pool() {
  for (int threads = 1; threads <= 8; ++threads) {
    const std::string name = ", " + std::to_string(threads) + " threads";
    test("thread pool, many jobs" + name, [&] { test_jobs(threads); });
    test("thread pool, parking" + name, [&] { test_parking(threads); });
    test("thread pool, errors" + name, [&] { test_errors(threads); });
    test("thread pool, destruction" + name, [&] { test_destruction(threads); });
  }
}

}  // namespace openelm
