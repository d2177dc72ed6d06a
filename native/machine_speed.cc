#include "machine_speed.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "pages.h"
#include "simd/kernels.h"
#include "simd/thread_pool.h"

#if defined(OPENELM_X86)
#include <immintrin.h>
#elif defined(OPENELM_ARM64)
#include <arm_neon.h>
#endif

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

// Each round is a multiply-add in each of so many registers, which wait for nothing but themselves:
// enough to keep all multipliers busy, and no more than there are.
#if defined(OPENELM_ARM64)
static constexpr int kBusyRegisters = 24;
#else
static constexpr int kBusyRegisters = 12;
#endif

#if defined(OPENELM_X86)
#define OPENELM_TARGET "avx512f"
#include "simd/target_begin.inc"
static float multiply_adds_avx512(int rounds) {
  __m512 x[kBusyRegisters];
  for (__m512& value : x) value = _mm512_set1_ps(1);
  const __m512 half = _mm512_set1_ps(0.5f);
  for (int i = 0; i < rounds; ++i) {
    for (__m512& value : x) value = _mm512_fmadd_ps(value, half, half);
  }
  __m512 sum = x[0];
  for (const __m512& value : x) sum = _mm512_add_ps(sum, value);
  return _mm512_cvtss_f32(sum);
}
#include "simd/target_end.inc"
#undef OPENELM_TARGET

#define OPENELM_TARGET "avx2,fma"
#include "simd/target_begin.inc"
static float multiply_adds_avx2(int rounds) {
  __m256 x[kBusyRegisters];
  for (__m256& value : x) value = _mm256_set1_ps(1);
  const __m256 half = _mm256_set1_ps(0.5f);
  for (int i = 0; i < rounds; ++i) {
    for (__m256& value : x) value = _mm256_fmadd_ps(value, half, half);
  }
  __m256 sum = x[0];
  for (const __m256& value : x) sum = _mm256_add_ps(sum, value);
  return _mm256_cvtss_f32(sum);
}
#include "simd/target_end.inc"
#undef OPENELM_TARGET
#elif defined(OPENELM_ARM64)
static float multiply_adds_neon(int rounds) {
  float32x4_t x[kBusyRegisters];
  for (float32x4_t& value : x) value = vdupq_n_f32(1);
  const float32x4_t half = vdupq_n_f32(0.5f);
  for (int i = 0; i < rounds; ++i) {
    for (float32x4_t& value : x) value = vfmaq_f32(half, value, half);
  }
  float32x4_t sum = x[0];
  for (const float32x4_t& value : x) sum = vaddq_f32(sum, value);
  return vgetq_lane_f32(sum, 0);
}
#endif

// Registers of four, which is what compilers make of this for any processor that has some.
static float multiply_adds_scalar(int rounds) {
  float x[kBusyRegisters * 4];
  for (float& value : x) value = 1;
  for (int i = 0; i < rounds; ++i) {
    for (float& value : x) value = value * 0.5f + 0.5f;
  }
  return std::accumulate(x, x + kBusyRegisters * 4, 0.0f);
}

struct MultiplyAdds {
  int lanes;  // of each register
  float (*run)(int rounds);
};

// On the widest registers that the kernels in use have.
static MultiplyAdds multiply_adds() {
  [[maybe_unused]] const std::string_view name = cpu_kernels().name;
#if defined(OPENELM_X86)
  if (name == "avx512") return {16, multiply_adds_avx512};
  if (name == "avx2" || name == "avxvnni") return {8, multiply_adds_avx2};
#elif defined(OPENELM_ARM64)
  if (name == "neon") return {4, multiply_adds_neon};
#endif
  return {4, multiply_adds_scalar};
}

static double measure_multiply_adds(ThreadPool& pool) {
  const MultiplyAdds kernel = multiply_adds();
  const double seconds = shortest_of(kFloatBursts, [&](int) {
    pool.run(pool.threads(), [&](int, int) { keep(kernel.run(kFloatRounds)); });
  });
  const double multiply_adds = double(kFloatRounds) * kBusyRegisters * kernel.lanes;
  return 2 * multiply_adds * pool.threads() / seconds;
}

MachineSpeed measure_machine(int threads) {
  ThreadPool pool(threads);
  return {measure_reading(pool), measure_multiply_adds(pool)};
}

}  // namespace openelm
