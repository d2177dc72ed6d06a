#include "block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <vector>

#include "fiber.h"

namespace emulator {

static std::string place(const Site& site) {
  const std::string file = site.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(site.line());
}

void fail(const Site& site, const std::string& message) {
  throw Failure(place(site) + ": " + message);
}

namespace {

bool same(const Site& a, const Site& b) {
  if (std::memcmp(&a, &b, sizeof a) == 0) return true;  // mostly: both point to the same record
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

bool before(const Site& a, const Site& b) {
  return a.line() != b.line() ? a.line() < b.line() : a.column() < b.column();
}

struct Lane {
  Site site;  // of the wait, while it waits
  uint32_t mask = 0;
  void* posted = nullptr;
  void (*combine)(const Group&) = nullptr;
};

// The lanes of a warp by what they are about, as bits. Those in neither have ended.
struct Warp {
  uint32_t ready = 0;
  uint32_t in_collective = 0;
  uint32_t in_barrier = 0;
  Lane lanes[kWarpSize];
};

template <typename Visit>
void for_each_bit(uint32_t bits, Visit visit) {
  for (; bits; bits &= bits - 1) visit(std::countr_zero(bits));
}

// Good enough for orders, and cheap to seed for each block (splitmix64).
struct Random {
  using result_type = uint64_t;
  uint64_t state;

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t(0); }
  uint64_t operator()() {
    uint64_t bits = state += 0x9e3779b97f4a7c15u;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    return bits ^ bits >> 31;
  }
};

class Block {
 public:
  Block(int lanes, size_t shared_limit, const std::function<void(int)>& body)
      : num_lanes_(lanes),
        warps_((lanes + kWarpSize - 1) / kWarpSize),
        shared_left_(shared_limit),
        shared_limit_(shared_limit),
        body_(body),
        fibers_(fibers(lanes)),
        random_{seed()} {
    for (int lane = 0; lane < lanes; ++lane) {
      warps_[lane / kWarpSize].ready |= 1u << lane % kWarpSize;
      fibers_[lane]->start([this, lane] { run_lane(lane); });
    }
  }

  void run() {
    const int warps = int(warps_.size());
    int warp = 0;
    for (;;) {
      if (settings.order == Order::kForward) {
        for (warp = 0; warp < warps && !warps_[warp].ready;) ++warp;
      } else if (settings.order == Order::kReverse) {
        for (warp = warps - 1; warp >= 0 && !warps_[warp].ready;) --warp;
      } else {
        warp = int(random_() % warps);
        for (int i = 0; i < warps && !warps_[warp].ready; ++i) warp = (warp + 1) % warps;
      }
      if (warp >= 0 && warp < warps && warps_[warp].ready) {
        step(warp);
      } else if (!release_barrier()) {
        return;
      }
    }
  }

  int lane() const { return current_; }

  void wait_at_barrier(const Site& site) {
    Warp& warp = warps_[current_ / kWarpSize];
    warp.in_barrier |= 1u << current_ % kWarpSize;
    warp.lanes[current_ % kWarpSize].site = site;
    wait();
  }

  void wait_in_collective(const Lane& lane) {
    Warp& warp = warps_[current_ / kWarpSize];
    warp.in_collective |= 1u << current_ % kWarpSize;
    warp.lanes[current_ % kWarpSize] = lane;
    wait();
  }

  void* shared(size_t bytes, const Site& site) {
    for (const Shared& shared : shared_) {
      if (shared.bytes == bytes && same(shared.site, site)) return shared.memory.get();
    }
    if (bytes > shared_left_) {
      fail(site, "the block needs more than " + std::to_string(shared_limit_) +
                     " bytes of shared memory");
    }
    shared_left_ -= bytes;
    auto* memory = static_cast<char*>(::operator new(bytes, kSharedAlignment));
    std::memset(memory, 0xff, bytes);
    shared_.push_back({site, bytes, std::unique_ptr<char, Free>(memory)});
    return memory;
  }

 private:
  static constexpr std::align_val_t kSharedAlignment{128};
  struct Free {
    void operator()(char* memory) const { ::operator delete(memory, kSharedAlignment); }
  };
  struct Shared {
    Site site;
    size_t bytes;  // which differ where a template declares an array of its own type
    std::unique_ptr<char, Free> memory;
  };

  // Stacks stay with the thread: mapping a thousand of them costs more than most blocks do.
  static std::unique_ptr<Fiber>* fibers(int lanes) {
    static thread_local std::vector<std::unique_ptr<Fiber>> pool;
    while (int(pool.size()) < lanes) pool.push_back(std::make_unique<Fiber>());
    return pool.data();
  }

  static uint64_t seed() {
    static thread_local uint64_t blocks = 0;
    return settings.seed * 0x9e3779b97f4a7c15u + ++blocks;
  }

  // The lane waits: it is the turn of the next of its step.
  void wait() {
    Fiber& waiting = *fibers_[current_];
    if (turn_ == turns_) return waiting.suspend();
    current_ = order_[turn_++];
    waiting.hand_over(*fibers_[current_]);
  }

  void run_lane(int lane) {
    try {
      body_(lane);
    } catch (...) {
      if (!error_) error_ = std::current_exception();
    }
  }

  // Runs the warp's ready lanes until each waits or ends. Forward and reverse then take the same
  // warp again while it can go on, which is the most that warps can drift apart.
  void step(int index) {
    Warp& warp = warps_[index];
    turn_ = turns_ = 0;
    for_each_bit(warp.ready, [&](int lane) { order_[turns_++] = index * kWarpSize + lane; });
    if (settings.order == Order::kReverse) std::reverse(order_, order_ + turns_);
    if (settings.order == Order::kRandom) std::shuffle(order_, order_ + turns_, random_);
    warp.ready = 0;
    while (turn_ < turns_) {
      current_ = order_[turn_++];
      fibers_[current_]->resume();
      if (error_) std::rethrow_exception(error_);
    }
    release_groups(warp);
  }

  // Lets every group of the warp go that is complete.
  void release_groups(Warp& warp) {
    for (uint32_t waiting = warp.in_collective; waiting;) {
      const Lane* first = &warp.lanes[std::countr_zero(waiting)];
      for_each_bit(waiting, [&](int lane) {
        const Lane& other = warp.lanes[lane];
        if (!same(other.site, first->site) && before(other.site, first->site)) first = &other;
      });
      Group group;
      group.lanes = 0;
      group.site = first->site;
      for_each_bit(waiting, [&](int lane) {
        const Lane& other = warp.lanes[lane];
        if (!same(other.site, first->site) || other.mask != first->mask) return;
        group.lanes |= 1u << lane;
        group.posted[lane] = other.posted;
      });
      waiting &= ~group.lanes;
      if (first->mask != kConverged && group.lanes != first->mask) continue;
      first->combine(group);
      warp.in_collective &= ~group.lanes;
      warp.ready |= group.lanes;
      // Where lanes diverged, those further down may yet be joined by these.
      if (first->mask == kConverged) return;
    }
  }

  // True when lanes can go on, false when all have ended.
  bool release_barrier() {
    const Lane* stuck = nullptr;
    for (Warp& warp : warps_) {
      for_each_bit(warp.in_collective, [&](int lane) { fail_group(warp, lane); });
      if (warp.in_barrier && !stuck) stuck = &warp.lanes[std::countr_zero(warp.in_barrier)];
    }
    if (!stuck) return false;
    std::vector<int> missing;
    for (int lane = 0; lane < num_lanes_; ++lane) {
      const Warp& warp = warps_[lane / kWarpSize];
      const bool waits = warp.in_barrier >> lane % kWarpSize & 1;
      if (!waits || !same(warp.lanes[lane % kWarpSize].site, stuck->site)) missing.push_back(lane);
    }
    if (!missing.empty()) fail(stuck->site, list_lanes(missing) + " missed the barrier");
    for (Warp& warp : warps_) std::swap(warp.ready, warp.in_barrier);
    return true;
  }

  [[noreturn]] void fail_group(const Warp& warp, int lane) const {
    const Lane& stuck = warp.lanes[lane];
    uint32_t here = 0;
    for_each_bit(warp.in_collective, [&](int other) {
      if (same(warp.lanes[other].site, stuck.site) && warp.lanes[other].mask == stuck.mask) {
        here |= 1u << other;
      }
    });
    std::vector<int> missing;
    for_each_bit(stuck.mask & ~here, [&](int other) {
      missing.push_back(int(&warp - warps_.data()) * kWarpSize + other);
    });
    fail(stuck.site, "the mask names " + list_lanes(missing) + ", absent here");
  }

  static std::string list_lanes(const std::vector<int>& lanes) {
    std::string text = lanes.size() == 1 ? "lane " : "lanes ";
    for (size_t i = 0; i < lanes.size() && i < 8; ++i) {
      text += (i ? ", " : "") + std::to_string(lanes[i]);
    }
    return lanes.size() > 8 ? text + ", ..." : text;
  }

  const int num_lanes_;
  std::vector<Warp> warps_;
  std::vector<Shared> shared_;
  size_t shared_left_;
  const size_t shared_limit_;
  const std::function<void(int)>& body_;
  std::unique_ptr<Fiber>* const fibers_;
  Random random_;
  std::exception_ptr error_;
  int current_ = 0;
  // Of the step that runs: its lanes, how many they are, and whose turn is next.
  int order_[kWarpSize];
  int turns_ = 0;
  int turn_ = 0;
};

thread_local Block* block = nullptr;

}  // namespace

void run_block(int lanes, size_t shared_limit, const std::function<void(int)>& body) {
  Block running(lanes, shared_limit, body);
  block = &running;
  try {
    running.run();
  } catch (...) {
    block = nullptr;
    throw;
  }
  block = nullptr;
}

int current_lane() { return block->lane(); }

void block_barrier(const Site& site) { block->wait_at_barrier(site); }

void warp_collective(uint32_t mask, void* posted, void (*combine)(const Group&), const Site& site) {
  const int lane = current_lane() % kWarpSize;
  if (mask != kConverged && !(mask >> lane & 1)) {
    fail(site, "lane " + std::to_string(current_lane()) + " is not in its own mask");
  }
  block->wait_in_collective({site, mask, posted, combine});
}

void* shared_memory(size_t bytes, const Site& site) { return block->shared(bytes, site); }

}  // namespace emulator
