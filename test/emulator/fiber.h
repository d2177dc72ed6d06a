#pragma once

#include <cstddef>
#include <functional>

namespace emulator {

// A function on a stack of its own that can stop in the middle. It stays on the thread that first
// resumed it. Stacks are reused: a fiber dropped before its function ended runs no destructors.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // `body` must not throw. What it held before is dropped.
  void start(std::function<void()> body);

  // Runs the body until it suspends itself or ends.
  void resume();

  // From inside the body: back to resume().
  void suspend();

  // From inside the body: runs `next` in its place, as if whoever resumed this one had done so
  // after suspend(). It costs half of that.
  void hand_over(Fiber& next);

  bool done() const { return done_; }

 private:
  struct Context;
  static void enter();
  void arrive(void* fake_stack);
  void run();

  Context* context_;
  std::function<void()> body_;
  bool done_ = true;
};

}  // namespace emulator
