#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

// The Objective-C runtime, as C++. Its few functions are declared here rather than included, so
// that the host code of the Metal backend is plain C++ and links against anything that has them.
extern "C" {
void objc_msgSend(void);
void* sel_registerName(const char* name);
void* objc_getClass(const char* name);
void* objc_retain(void* object);
void objc_release(void* object);
void* objc_autoreleasePoolPush(void);
void objc_autoreleasePoolPop(void* pool);
}

namespace openelm::objc {

using Id = void*;

// A selector's name as a template argument, so that each is registered once.
template <size_t N>
struct Name {
  constexpr Name(const char (&text)[N]) { std::copy_n(text, N, this->text); }
  char text[N];
};

// Sends a message. objc_msgSend must be called as the very function that the method is: R and Args
// are the method's own types, which is why callers spell out every integer's width.
template <Name name, typename R = void, typename... Args>
R send(Id target, Args... args) {
  static void* const selector = sel_registerName(name.text);
  return reinterpret_cast<R (*)(Id, void*, Args...)>(objc_msgSend)(target, selector, args...);
}

// An owned reference. A method whose name begins with `new`, `alloc` or `copy` gives ownership
// (`adopt`); what any other returns is its own until the pool drains (`retain`).
class Object {
 public:
  Object() = default;
  static Object adopt(Id id) { return Object(id); }
  static Object retain(Id id) { return Object(objc_retain(id)); }
  Object(const Object& other) : id_(objc_retain(other.id_)) {}
  Object(Object&& other) noexcept : id_(std::exchange(other.id_, nullptr)) {}
  Object& operator=(Object other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Object() { objc_release(id_); }

  Id id() const { return id_; }
  explicit operator bool() const { return id_ != nullptr; }

 private:
  explicit Object(Id id) : id_(id) {}
  Id id_ = nullptr;
};

// Objects returned without ownership live until the pool around them ends. Threads of our own have
// no other pool.
class AutoreleasePool {
 public:
  AutoreleasePool() : pool_(objc_autoreleasePoolPush()) {}
  ~AutoreleasePool() { objc_autoreleasePoolPop(pool_); }
  AutoreleasePool(const AutoreleasePool&) = delete;
  AutoreleasePool& operator=(const AutoreleasePool&) = delete;

 private:
  void* const pool_;
};

inline Object make(const char* class_name) {
  return Object::adopt(send<"new", Id>(objc_getClass(class_name)));
}

// An NSString that the pool owns.
inline Id string(const char* text) {
  return send<"stringWithUTF8String:", Id>(objc_getClass("NSString"), text);
}

inline std::string to_string(Id string) {
  const char* text = string ? send<"UTF8String", const char*>(string) : nullptr;
  return text ? text : "";
}

// What an NSError says.
inline std::string error_text(Id error) {
  return error ? to_string(send<"localizedDescription", Id>(error)) : "no reason was given";
}

}  // namespace openelm::objc
