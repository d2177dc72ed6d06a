// How fast the kernels of the CPU are at the shapes of OpenELM, beside what this machine can do:
//   cmake -B build/bench -D OPENELM_TESTS=ON -D NVCC=OFF
//   cmake --build build/bench --target kernel-bench
//   build/bench/kernel-bench [threads] [kernels]
// Threads are 1 by default; kernels are a name such as avx2, by default all that this processor
// runs. For a constant like kPrefetchBytes: change it, build, run again, compare.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "machine_speed.h"
#include "pages.h"
#include "simd/kernels.h"
#include "simd/thread_pool.h"

namespace openelm {
namespace {

constexpr size_t kMemoryBytes = size_t(512) << 20;  // far more than any cache holds
constexpr int kBursts = 9;
constexpr int kTaskPanels = 4;  // as the backend shares a matrix out
constexpr const char* kDTypeNames[] = {"float32", "float16", "bfloat16", "q8", "q4"};

// What is multiplied and attended to. Each byte is 0x3c, which is a small number in every format:
// speed does not depend on the values, unless they are denormal or not finite.
class Memory {
 public:
  Memory() : pages_(arena_.allocate(kMemoryBytes)) { std::memset(get(), 0x3c, kMemoryBytes); }
  char* get() const { return static_cast<char*>(pages_.get()); }

 private:
  PageArena arena_;
  std::shared_ptr<void> pages_;
};

// The median time of one call, in seconds.
template <typename Run>
double time_of(const Run& run) {
  std::vector<double> times;
  for (int i = 0; i < kBursts; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + kBursts / 2, times.end());
  return times[kBursts / 2];
}

class Bench {
 public:
  Bench(const Kernels& kernels, ThreadPool& pool, const MachineSpeed& speed, const Memory& memory)
      : kernels_(kernels), pool_(pool), speed_(speed), memory_(memory) {}

  // A matrix [rows, cols] by so many rows of input. Matrices that differ stand behind each other in
  // memory, as in a model, so that none comes out of a cache.
  void matmul(DType dtype, int rows, int cols, int tokens) const {
    const int panels = rows / kPanelRows;
    const size_t panel_bytes = packed_panel_bytes(cols, dtype);
    const int matrices = std::max(1, int(kMemoryBytes / (panels * panel_bytes)));
    const int groups = groups_of(cols);
    const std::vector<float> values(size_t(tokens) * cols, 0.5f);
    const std::vector<int16_t> quantized(size_t(tokens) * groups * kGroupSize, 100);
    const std::vector<float> scales(size_t(tokens) * groups, 0.5f);
    const std::vector<int32_t> offsets(size_t(tokens) * groups, -8 * 100 * kGroupSize);
    const Input input{values.data(), quantized.data(), scales.data(), offsets.data(), cols, groups};
    const size_t acc_size = size_t(tokens) * kTaskPanels * kPanelRows;
    std::vector<float> acc(acc_size * pool_.threads());
    const int tasks = panels / kTaskPanels;
    // One matrix takes long enough to be timed where there are many tokens.
    const int count = tokens <= 8 ? matrices : 1;
    const double seconds = time_of([&] {
      for (int i = 0; i < count; ++i) {
        const char* matrix = memory_.get() + i * panels * panel_bytes;
        pool_.run(tasks, [&](int task, int thread) {
          kernels_.matmul[int(dtype)](matrix + task * kTaskPanels * panel_bytes, kTaskPanels, input,
                                      tokens, acc.data() + thread * acc_size);
        });
      }
    });
    report(std::string("matmul ") + kDTypeNames[int(dtype)],
           std::to_string(rows) + "x" + std::to_string(cols), tokens, seconds / count,
           double(tasks) * kTaskPanels * panel_bytes, 2.0 * rows * cols * tokens);
  }

  // A query group over full partitions of one token's context, or of several tokens'.
  void attention(DType dtype, int head_dim, int heads, int tokens) const {
    const size_t half = size_t(kPartition) * padded_head_dim(head_dim) * bytes_of(dtype, 1);
    const int partitions = tokens == 1 ? int(kMemoryBytes / (2 * half)) : 64;
    const int rows = tokens * heads;
    struct Scratch {
      std::vector<float> scores, values, max, total;
    };
    std::vector<Scratch> scratch(pool_.threads(),
                                 {std::vector<float>(size_t(rows) * kPartition),
                                  std::vector<float>(size_t(rows) * padded_head_dim(head_dim)),
                                  std::vector<float>(rows), std::vector<float>(rows)});
    const std::vector<float> q(size_t(rows) * head_dim, 0.01f);
    const double seconds = time_of([&] {
      pool_.run(partitions, [&](int task, int thread) {
        const char* k = memory_.get() + 2 * half * task;
        Scratch& own = scratch[thread];
        kernels_.attention[int(dtype)](
            {q.data(), k, k + half, tokens, heads, head_dim, kPartition, own.scores.data()},
            {own.values.data(), own.max.data(), own.total.data()});
      });
    });
    report(std::string("attention ") + kDTypeNames[int(dtype)],
           std::to_string(heads) + " heads of " + std::to_string(head_dim), tokens,
           seconds / partitions, 2.0 * half, 4.0 * kPartition * head_dim * rows);
  }

 private:
  void report(const std::string& kernel, const std::string& shape, int tokens, double seconds,
              double bytes, double operations) const {
    std::printf("%-8s %-18s %-14s %6d %9.1f us %7.1f GB/s %4.0f%% %8.1f GFLOP/s %4.0f%%\n",
                kernels_.name, kernel.c_str(), shape.c_str(), tokens, seconds * 1e6,
                bytes / seconds / 1e9, 100 * bytes / seconds / speed_.read_bandwidth,
                operations / seconds / 1e9, 100 * operations / seconds / speed_.float_peak);
  }

  const Kernels& kernels_;
  ThreadPool& pool_;
  const MachineSpeed& speed_;
  const Memory& memory_;
};

void run(int threads, const std::string& only) {
  const MachineSpeed speed = measure_machine(threads);
  std::printf("%d threads: memory is read at %.1f GB/s, multiply-adds reach %.1f GFLOP/s\n",
              threads, speed.read_bandwidth / 1e9, speed.float_peak / 1e9);
  const Memory memory;
  ThreadPool pool(threads);
  for (const Kernels* kernels : runnable_kernels()) {
    if (!only.empty() && only != kernels->name) continue;
    const Bench bench(*kernels, pool, speed, memory);
    for (const int tokens : {1, 2, 8, 128}) {
      for (int dtype = 0; dtype < 5; ++dtype) {
        bench.matmul(DType(dtype), 5120, 1280, tokens);  // proj_1 of 270M's last layer, half of it
        bench.matmul(DType(dtype), 1280, 5120, tokens);  // proj_2
      }
      for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
        bench.attention(dtype, 64, 4, tokens);
        bench.attention(dtype, 128, 4, tokens);
      }
    }
  }
}

}  // namespace
}  // namespace openelm

int main(int argc, char** argv) {
  try {
    openelm::run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 1, argc > 2 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
}
