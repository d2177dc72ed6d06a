#include "mock_objc.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <vector>

#include "mock_metal.h"

namespace emulator::metal {

void misuse(const std::string& message) {
  std::fprintf(stderr, "Metal mock: %s\n", message.c_str());
  std::abort();
}

Object::Object(const Methods& methods) : methods(methods) { ++counters.live_objects; }

Object::~Object() { --counters.live_objects; }

static thread_local std::vector<std::vector<Object*>> pools;

Id autorelease(Object* object) {
  if (pools.empty()) {
    ++counters.autoreleases_without_pool;
  } else {
    pools.back().push_back(object);
  }
  return object;
}

Methods String::methods() {
  return {{"UTF8String", method([](String* self, Selector) { return self->text.c_str(); })}};
}

Methods Error::methods() {
  return {{"localizedDescription",
           method([](Error* self, Selector) { return autorelease(new String(self->text)); })},
          {"code", method([](Error* self, Selector) { return self->code; })}};
}

Id fail_with(Id* error, const std::string& text) {
  if (error) *error = autorelease(new Error(text));
  return nullptr;
}

static std::map<std::string, Object*>& classes() {
  static auto& all = *new std::map<std::string, Object*>;
  return all;
}

void register_class(const char* name, Object* instance) { classes()[name] = instance; }

namespace {

struct StringClass : Of<StringClass> {
  StringClass() { register_class("NSString", this); }
  static Methods methods() {
    return {{"stringWithUTF8String:",
             method([](Id, Selector, const char* text) { return autorelease(new String(text)); })}};
  }
};

auto& string_class = *new StringClass;  // never destroyed: passes may still run

}  // namespace

}  // namespace emulator::metal

using namespace emulator::metal;

extern "C" {

void* emulator_find_method(Object* target, Selector selector) {
  const auto found = target->methods.find(selector);
  if (found == target->methods.end()) misuse(std::string("unrecognized selector ") + selector);
  return reinterpret_cast<void*>(found->second);
}

// Finds the method and jumps to it, every argument still in its place. A message to nil is zero.
void objc_msgSend(void);
asm(R"(
  .text
  .globl objc_msgSend
objc_msgSend:
  testq %rdi, %rdi
  jz 1f
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq %r8
  pushq %r9
  subq $8, %rsp
  call emulator_find_method
  addq $8, %rsp
  popq %r9
  popq %r8
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  jmp *%rax
1:
  xorl %eax, %eax
  ret
)");

void* sel_registerName(const char* name) {
  static std::mutex mutex;
  static auto& names = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return const_cast<char*>(names.insert(name).first->c_str());
}

void* objc_getClass(const char* name) {
  const auto found = classes().find(name);
  if (found == classes().end()) misuse(std::string("no class ") + name);
  return found->second;
}

void* objc_retain(void* target) {
  if (target) ++static_cast<Object*>(target)->references;
  return target;
}

void objc_release(void* target) {
  auto* released = static_cast<Object*>(target);
  if (released && --released->references == 0) delete released;
}

void* objc_autoreleasePoolPush(void) {
  pools.emplace_back();
  return reinterpret_cast<void*>(pools.size());
}

void objc_autoreleasePoolPop(void* pool) {
  if (pools.size() != reinterpret_cast<size_t>(pool)) misuse("pools end in another order");
  const std::vector<Object*> owned = std::move(pools.back());
  pools.pop_back();
  for (Object* released : owned) objc_release(released);
}

}  // extern "C"
