#pragma once

#include <atomic>
#include <map>
#include <string>
#include <utility>

// A small Objective-C runtime: objects whose methods are found by name, counted references, pools.
// Its tables are never destroyed: threads still use them while a process exits.
namespace emulator::metal {

// What Objective-C and Metal end the process for, the mock ends it for too.
[[noreturn]] void misuse(const std::string& message);

inline void require(bool condition, const char* message) {
  if (!condition) misuse(message);
}

using Id = void*;
using Selector = const char*;
using Integer = unsigned long;
using Method = void (*)();
using Methods = std::map<std::string, Method>;

struct Object {
  explicit Object(const Methods& methods);
  virtual ~Object();
  const Methods& methods;
  std::atomic<int> references{1};
};

// An object of a class T, whose methods are what T::methods() lists.
template <typename T>
struct Of : Object {
  Of() : Object(table()) {}
  static const Methods& table() {
    static const Methods& methods = *new Methods(T::methods());
    return methods;
  }
};

// A function (T* self, Selector, arguments...) without captures as a method.
template <typename Function>
Method method(Function function) {
  return reinterpret_cast<Method>(+function);
}

template <typename T>
class Ref {
 public:
  explicit Ref(T* to = nullptr) : to_(to) {
    if (to_) ++to_->references;
  }
  Ref(const Ref& other) : Ref(other.to_) {}
  Ref& operator=(Ref other) {
    std::swap(to_, other.to_);
    return *this;
  }
  ~Ref() {
    if (to_ && --to_->references == 0) delete to_;
  }
  T* operator->() const { return to_; }
  explicit operator bool() const { return to_; }

 private:
  T* to_;
};

Id autorelease(Object* object);

struct String : Of<String> {
  explicit String(std::string text) : text(std::move(text)) {}
  static Methods methods();
  const std::string text;
};

struct Error : Of<Error> {
  explicit Error(std::string text, long code = 1) : text(std::move(text)), code(code) {}
  static Methods methods();
  const std::string text;
  const long code;
};

// For methods that return nil and an NSError.
Id fail_with(Id* error, const std::string& text);

// A class as an object, by which objc_getClass finds it; it answers to the class methods.
void register_class(const char* name, Object* instance);

}  // namespace emulator::metal
