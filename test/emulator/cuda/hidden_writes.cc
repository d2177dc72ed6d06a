#include "hidden_writes.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "mock_runtime.h"

namespace emulator::cuda {
namespace {

constexpr size_t kGrain = 64;
constexpr size_t kLargest = size_t(1) << 18;  // what is larger takes too long to compare each time

// As all that runs, these are guarded by the runtime's mutex. They are never destroyed, for kernels
// may still run when the process ends.
//
// By kernels that may not have ended: where, and how many bytes.
auto& written = *new std::map<char*, size_t>;
auto& hidden = *new std::vector<char>;  // what is written there, while poison is in its place
auto& before_launch = *new std::map<char*, std::vector<char>>;

}  // namespace

void begin_launch(bool overlaps) {
  if (machine.sparse) return;
  std::map<char*, std::vector<char>> copies;
  for_each_changing([&](char* memory, size_t bytes) {
    if (bytes > kLargest) return;
    std::vector<char>& copy = copies[memory] = std::move(before_launch[memory]);
    copy.assign(memory, memory + bytes);
  });
  before_launch = std::move(copies);
  if (!overlaps) written.clear();
  for (const auto& [begin, bytes] : written) {
    hidden.insert(hidden.end(), begin, begin + bytes);
    std::memset(begin, 0xff, bytes);
  }
}

void show_writes() {
  if (hidden.empty()) return;
  const char* from = hidden.data();
  for (const auto& [begin, bytes] : written) {
    std::memcpy(begin, from, bytes);
    from += bytes;
  }
  hidden.clear();
}

void end_launch(bool waits_first) {
  show_writes();
  if (machine.sparse) return;
  if (waits_first) written.clear();
  for (auto& [memory, copy] : before_launch) {
    if (std::memcmp(memory, copy.data(), copy.size()) == 0) continue;
    for (size_t begin = 0; begin < copy.size(); begin += kGrain) {
      const size_t bytes = std::min(kGrain, copy.size() - begin);
      if (std::memcmp(memory + begin, copy.data() + begin, bytes) == 0) continue;
      written[memory + begin] = bytes;
    }
  }
}

void end_all_launches() { written.clear(); }

}  // namespace emulator::cuda
