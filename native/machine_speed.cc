#include "machine_speed.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>

#include "pages.h"
#include "simd/kernels.h"
#include "simd/thread_pool.h"

namespace openelm {

// Far more than any cache holds.
static constexpr size_t kReadBytes = size_t(512) << 20;
static constexpr int kReadBursts = 12;
static constexpr int kFloatBursts = 100;
static constexpr int kFloatRounds = 20000;

template <typename Burst>
static double shortest_of(int bursts, const Burst& burst) {
  double shortest = 1e9;
  for (int i = 0; i < bursts; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    burst(i);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    shortest = std::min(shortest, seconds.count());
  }
  return shortest;
}

// Lets the compiler believe that the value is used. Each thread has a place of its own for it.
template <typename Value>
static void keep(Value value) {
  [[maybe_unused]] volatile Value used = value;
}

// One word of each cache line, which brings the whole line, in sums that do not wait for each
// other: of kRuns runs through the memory side by side.
template <size_t kRuns>
static uint64_t sum_of(const uint64_t* words, size_t count) {
  constexpr size_t kSums = 8;
  constexpr size_t kLine = 64 / sizeof(uint64_t);
  constexpr size_t kLines = kSums / kRuns;  // of each run at a time
  const size_t run = count / kRuns;
  uint64_t sums[kSums] = {};
  for (size_t i = 0; i < run; i += kLines * kLine) {
    for (size_t j = 0; j < kSums; ++j) sums[j] += words[j / kLines * run + i + j % kLines * kLine];
  }
  return std::accumulate(sums, sums + kSums, uint64_t(0));
}

// Some machines read one run faster, and some several.
static double measure_reading(ThreadPool& pool) {
  const auto pages = allocate_pages(kReadBytes);
  auto* words = static_cast<uint64_t*>(pages.get());
  const size_t words_per_page = 4096 / sizeof(uint64_t);
  const size_t share = kReadBytes / sizeof(uint64_t) / pool.threads() / 4096 * 4096;
  // Every page is written once: until then the system shows one page of zeros in place of them all.
  pool.run(pool.threads(), [&](int task, int) {
    for (size_t i = 0; i < share; i += words_per_page) words[task * share + i] = i;
  });
  const double seconds = shortest_of(kReadBursts, [&](int burst) {
    const auto read = burst % 2 == 0 ? sum_of<1> : sum_of<4>;
    pool.run(pool.threads(), [&](int task, int) { keep(read(words + task * share, share)); });
  });
  return double(share * sizeof(uint64_t)) * pool.threads() / seconds;
}

static double measure_multiply_adds(ThreadPool& pool) {
  const auto multiply_adds = cpu_kernels().multiply_adds;
  const double seconds = shortest_of(kFloatBursts, [&](int) {
    pool.run(pool.threads(), [&](int, int) { keep(multiply_adds(kFloatRounds)); });
  });
  return 2.0 * kFloatRounds * multiply_adds(0) * pool.threads() / seconds;
}

MachineSpeed measure_machine(int threads) {
  ThreadPool pool(threads);
  return {measure_reading(pool), measure_multiply_adds(pool)};
}

}  // namespace openelm
