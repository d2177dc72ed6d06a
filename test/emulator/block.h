#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

// One block of GPU threads (a threadgroup on Metal) on the CPU, whatever language its kernel is
// written in: lanes are fibers, each runs until it has to wait for others. Both shims stand on
// this.
//
// What a GPU would let pass, or hang on, is a Failure here that names the kernel's source line.
namespace emulator {

constexpr int kWarpSize = 32;

// Where in its source a kernel waits. Lanes that wait at one site wait together. Never a return
// address: inlining duplicates call sites. Shims take it as a hidden default argument.
using Site = std::source_location;

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const Site& site, const std::string& message);

// In which order the lanes of a block, and its warps, get to run between two points where they
// wait. A kernel that lacks a barrier gives another result in another order.
enum class Order : uint8_t { kForward, kReverse, kRandom };

struct Settings {
  Order order = Order::kForward;
  uint64_t seed = 1;
};

inline Settings settings;

// Runs body(lane) for the lanes 0 .. lanes - 1. They may hold at most `shared_limit` bytes of
// shared memory. Throws Failure, or what a lane throws.
void run_block(int lanes, size_t shared_limit, const std::function<void(int)>& body);

// The rest is for lanes.

int current_lane();

// Waits for every lane of the block. A lane that ends without coming here is a Failure.
void block_barrier(const Site& site = Site::current());

// Lanes of a warp that do something together. `posted` is what each brought, by lane of the warp.
struct Group {
  uint32_t lanes;
  void* posted[kWarpSize];
  Site site;

  bool has(int lane) const { return lane >= 0 && lane < kWarpSize && (lanes >> lane & 1); }
};

constexpr uint32_t kConverged = 0;

// Waits until every lane of `mask` has come to this site; then `combine` runs, once, on what they
// posted, and all go on. With kConverged as mask the group is the lanes that happen to be here once
// no lane of the warp can go on, as on Metal.
void warp_collective(uint32_t mask, void* posted, void (*combine)(const Group&),
                     const Site& site = Site::current());

// The block's shared memory declared at `site`: the same for all its lanes, fresh in every block
// and full of poison (0xff bytes: a NaN in every float format).
void* shared_memory(size_t bytes, const Site& site);

}  // namespace emulator
