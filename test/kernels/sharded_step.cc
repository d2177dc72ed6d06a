// A step whose gradients come from several ranks is that of their sum in one process, to the bit.
// The ranks are threads here.

#include "train/sharded_step.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "check.h"
#include "suites.h"
#include "tensors.h"
#include "train/gradient_tree.h"

namespace openelm {

using namespace train;
using mpi::Peers;

namespace {

using Floats = std::vector<float>;

// What ranks have sent each other and not received yet.
struct Mail {
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::pair<int, int>, std::deque<std::vector<uint8_t>>> parts;  // by (from, to)
};

class ThreadPeers final : public Peers {
 public:
  ThreadPeers(Mail& mail, int rank, int size) : mail_(mail), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::shared_ptr<mpi::Transfer> exchange(std::vector<Part> sends,
                                          std::vector<Part> receives) override {
    struct Receiving final : mpi::Transfer {
      Receiving(ThreadPeers& peers, std::vector<Part> parts)
          : peers(peers), parts(std::move(parts)) {}
      void wait() override {
        for (const Part& part : parts) peers.receive(part);
      }
      ThreadPeers& peers;
      std::vector<Part> parts;
    };
    for (const Part& part : sends) {
      if (part.bytes == 0) continue;
      const auto* bytes = static_cast<const uint8_t*>(part.data);
      const std::lock_guard lock(mail_.mutex);
      mail_.parts[{rank_, part.rank}].emplace_back(bytes, bytes + part.bytes);
      mail_.arrived.notify_all();
    }
    return std::make_shared<Receiving>(*this, std::move(receives));
  }
  std::shared_ptr<mpi::Transfer> broadcast(void*, size_t) override { return nullptr; }

  size_t received = 0;

 private:
  void receive(const Part& part) {
    if (part.bytes == 0) return;
    std::unique_lock lock(mail_.mutex);
    auto& box = mail_.parts[{part.rank, rank_}];
    mail_.arrived.wait(lock, [&] { return !box.empty(); });
    check(box.front().size() == part.bytes, "both sides name the same size");
    std::memcpy(part.data, box.front().data(), part.bytes);
    box.pop_front();
    received += part.bytes;
  }

  Mail& mail_;
  const int rank_;
  const int size_;
};

// A model of two tensors, of which a vector lies across the border of a chunk where there is one.
Layout make_layout(int size) {
  Layout layout;
  const int first = size / 2;
  if (first > 0) layout.add_matrix({1, first});
  layout.add_vector(size - first);
  return layout;
}

struct State {
  explicit State(size_t size)
      : weights(random_floats(1, size)), gradients(size), first(size), second(size) {}
  AdamWState<float> arrays() {
    return {weights.data(), gradients.data(), first.data(), second.data()};
  }
  Floats weights, gradients, first, second;
};

AdamWOptions options_of(int step) {
  AdamWOptions options;
  options.learning_rate = 1e-2;
  options.step = step;
  return options;
}

Floats gradients_of(int rank, int step, size_t size) {
  return random_floats(uint64_t(100 * step + rank + 7), size, rank % 2 ? 50.0f : 0.01f);
}

void compare(int ranks, int size, size_t slice_size = 0) {
  const Layout layout = make_layout(size);
  constexpr int kSteps = 2;
  const std::atomic<bool> cancelled{false};

  State expected{size_t(size)};
  std::vector<double> norms;
  Workers<float> alone(1, cancelled);
  for (int step = 1; step <= kSteps; ++step) {
    std::vector<Floats> all;
    std::vector<float*> pieces;
    for (int rank = 0; rank < ranks; ++rank) all.push_back(gradients_of(rank, step, size));
    for (Floats& one : all) pieces.push_back(one.data());
    add_pieces(pieces, size);
    expected.gradients = all[0];
    norms.push_back(adamw(alone, layout, options_of(step), expected.arrays()));
  }

  Mail mail;
  std::vector<State> states(ranks, State(size));
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadPeers peers(mail, rank, ranks);
        Workers<float> workers(rank % 2 + 1, cancelled);
        ShardedStep<float> sharded(peers, layout, slice_size);
        for (int step = 1; step <= kSteps; ++step) {
          states[rank].gradients = gradients_of(rank, step, size);
          const double norm = sharded.step(workers, options_of(step), states[rank].arrays());
          check(norm == norms[step - 1], "the norm");
        }
        const size_t own = shard_of(size, rank, ranks).size();
        const size_t chunks = (size_t(size) + kChunk - 1) / kChunk;
        const size_t own_chunks = (own + kChunk - 1) / kChunk;
        const size_t each = 4 * (own * (ranks - 1) + size - own) + 8 * (chunks - own_chunks);
        check(peers.received == kSteps * each, "bytes received");
      } catch (...) {
        errors[rank] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const State& state = states[rank];
    check(state.weights == expected.weights, "weights");
    check(state.gradients == Floats(size), "gradients become zero");
    const auto [begin, end] = shard_of(size, rank, ranks);
    check(std::equal(state.first.begin() + begin, state.first.begin() + end,
                     expected.first.begin() + begin),
          "first moments of the shard");
    check(std::equal(state.second.begin() + begin, state.second.begin() + end,
                     expected.second.begin() + begin),
          "second moments of the shard");
  }
}

}  // namespace

void test_sharded_step() {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    test("a step of " + std::to_string(ranks) + " ranks is that of one", [&] {
      for (int size : {1, 1000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 5 * (1 << 16) + 77}) {
        compare(ranks, size);
      }
    });
  }
  test("a step of ranks in several slices", [] {
    for (int ranks : {2, 3}) compare(ranks, 9 * (1 << 16) + 5, 50'000);
  });
  test("a gradient that is not finite leaves the weights of all ranks", [] {
    const Layout layout = make_layout(1000);
    const std::atomic<bool> cancelled{false};
    Mail mail;
    std::vector<State> states(2, State(1000));
    std::vector<double> norms(2);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        ThreadPeers peers(mail, rank, 2);
        Workers<float> workers(1, cancelled);
        ShardedStep<float> sharded(peers, layout);
        if (rank == 1) states[rank].gradients[3] = std::numeric_limits<float>::quiet_NaN();
        norms[rank] = sharded.step(workers, options_of(1), states[rank].arrays());
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int rank = 0; rank < 2; ++rank) {
      check(std::isnan(norms[rank]), "the norm tells");
      check(states[rank].weights == State(1000).weights, "weights");
      check(states[rank].gradients == Floats(1000), "gradients");
    }
  });
}

}  // namespace openelm
