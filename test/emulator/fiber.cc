#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATOR_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define EMULATOR_ASAN 1
#endif

#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) && !defined(_WIN32)
#define EMULATOR_X86_64 1
#else
#define _XOPEN_SOURCE 700
#include <ucontext.h>
#endif

namespace emulator {

#ifdef EMULATOR_X86_64

// Saves the callee-saved registers of the System V ABI on the current stack, leaves the stack
// pointer at *from, and takes the other stack's up. Half the time of swapcontext is a system call
// for the signal mask, which nobody here changes. It ends with a jump, because processors predict
// that a `ret` goes back to the last `call`, and here it never does.
extern "C" void emulator_switch_stack(void** from, void* to);
asm(R"(
  .text
  .globl emulator_switch_stack
emulator_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
)");

#endif

struct Fiber::Context {
  char* mapping = nullptr;
  char* stack = nullptr;
  size_t stack_size = 0;
  // The caller is who resumed this fiber or the first of those that handed over to it.
#ifdef EMULATOR_X86_64
  void* fiber = nullptr;
  void* caller = nullptr;
#else
  ucontext_t fiber;
  ucontext_t own_caller;
  ucontext_t* caller = nullptr;
#endif
  // What AddressSanitizer wants to hear at each switch.
  void* fiber_fake_stack = nullptr;
  void* caller_fake_stack = nullptr;
  const void* caller_stack = nullptr;
  size_t caller_stack_size = 0;
};

namespace {

constexpr size_t kStackSize =
    256 * 1024;  // touched pages only; AddressSanitizer's frames are large

// Stacks that began at the same place of a page would share a few sets of the cache.
constexpr size_t kStackOffset = 128;

size_t page_size() {
  static const size_t size = size_t(sysconf(_SC_PAGESIZE));
  return size;
}

// The fiber that enters for the first time: the ABI's initial registers carry no argument.
thread_local Fiber* entering = nullptr;

}  // namespace

Fiber::Fiber() : context_(new Context) {
  // An overflow runs into the guard page below and not into another fiber.
  void* mapping = mmap(nullptr, kStackSize + page_size(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED || mprotect(mapping, page_size(), PROT_NONE) != 0) {
    throw std::bad_alloc();
  }
  context_->mapping = static_cast<char*>(mapping);
  context_->stack = context_->mapping + page_size();
  static thread_local size_t fibers = 0;
  context_->stack_size = kStackSize - fibers++ * kStackOffset % page_size();
}

Fiber::~Fiber() {
  munmap(context_->mapping, kStackSize + page_size());
  delete context_;
}

void Fiber::enter() {
  Fiber* const fiber = entering;
  fiber->arrive(nullptr);
  fiber->run();
}

// Every switch to this fiber ends here. A fiber that hands over tells it where the caller's stack
// is.
void Fiber::arrive([[maybe_unused]] void* fake_stack) {
#ifdef EMULATOR_ASAN
  const void* from = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &from, &size);
  if (context_->caller_stack) return;
  context_->caller_stack = from;
  context_->caller_stack_size = size;
#endif
}

void Fiber::run() {
  body_();
  done_ = true;
  Context& c = *context_;
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(nullptr, c.caller_stack, c.caller_stack_size);
#endif
#ifdef EMULATOR_X86_64
  emulator_switch_stack(&c.fiber, c.caller);
#else
  setcontext(c.caller);
#endif
  __builtin_unreachable();
}

void Fiber::start(std::function<void()> body) {
  Context& c = *context_;
#ifdef EMULATOR_ASAN
  if (!done_) __asan_unpoison_memory_region(c.stack, c.stack_size);  // frames that never returned
#endif
  body_ = std::move(body);
  done_ = false;
  c.fiber_fake_stack = nullptr;
  void (*const entry)() = enter;
#ifdef EMULATOR_X86_64
  // Six registers, the entry point, and no return address: the ABI wants the stack pointer at 8
  // modulo 16 where a function begins.
  void** sp = reinterpret_cast<void**>(c.stack + c.stack_size) - 2;
  sp[0] = reinterpret_cast<void*>(entry);
  sp[1] = nullptr;
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  c.fiber = sp;
#else
  getcontext(&c.fiber);
  c.fiber.uc_stack.ss_sp = c.stack;
  c.fiber.uc_stack.ss_size = c.stack_size;
  c.fiber.uc_link = nullptr;
  makecontext(&c.fiber, entry, 0);
#endif
}

void Fiber::resume() {
  Context& c = *context_;
  entering = this;
#ifdef EMULATOR_ASAN
  c.caller_stack = nullptr;
  __sanitizer_start_switch_fiber(&c.caller_fake_stack, c.stack, c.stack_size);
#endif
#ifdef EMULATOR_X86_64
  emulator_switch_stack(&c.caller, c.fiber);
#else
  c.caller = &c.own_caller;
  swapcontext(c.caller, &c.fiber);
#endif
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(c.caller_fake_stack, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
  Context& c = *context_;
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&c.fiber_fake_stack, c.caller_stack, c.caller_stack_size);
#endif
#ifdef EMULATOR_X86_64
  emulator_switch_stack(&c.fiber, c.caller);
#else
  swapcontext(&c.fiber, c.caller);
#endif
  arrive(c.fiber_fake_stack);
}

void Fiber::hand_over(Fiber& next) {
  Context& c = *context_;
  Context& other = *next.context_;
  entering = &next;
  other.caller = c.caller;
#ifdef EMULATOR_ASAN
  other.caller_stack = c.caller_stack;
  other.caller_stack_size = c.caller_stack_size;
  __sanitizer_start_switch_fiber(&c.fiber_fake_stack, other.stack, other.stack_size);
#endif
#ifdef EMULATOR_X86_64
  emulator_switch_stack(&c.fiber, other.fiber);
#else
  swapcontext(&c.fiber, &other.fiber);
#endif
  arrive(c.fiber_fake_stack);
}

}  // namespace emulator
