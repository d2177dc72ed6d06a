#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "objc.h"

// The part of Metal that the backend uses, each class a thin type over an owned object. A method
// that can fail returns an empty object, and the error's text through its last argument.

// NSArray<id<MTLDevice>> and id<MTLDevice>, owned by the caller.
extern "C" void* MTLCopyAllDevices(void);
extern "C" void* MTLCreateSystemDefaultDevice(void);

namespace openelm::mtl {

using objc::Id;
using objc::Object;
using objc::send;

using Integer = unsigned long;  // NSUInteger

struct Size {  // MTLSize
  Integer width, height, depth;
};

class Buffer : public Object {
 public:
  Buffer() = default;
  explicit Buffer(Object object) : Object(std::move(object)) {}
};

class Pipeline : public Object {
 public:
  Pipeline() = default;
  explicit Pipeline(Object object) : Object(std::move(object)) {}
  Integer max_total_threads_per_threadgroup() const {
    return send<"maxTotalThreadsPerThreadgroup", Integer>(id());
  }
};

class FunctionConstants : public Object {
 public:
  FunctionConstants() : Object(objc::make("MTLFunctionConstantValues")) {}
  void set(uint32_t value, Integer index) {
    constexpr Integer kTypeUInt = 33;
    send<"setConstantValue:type:atIndex:">(id(), static_cast<const void*>(&value), kTypeUInt,
                                           index);
  }
};

class Library : public Object {
 public:
  Library() = default;
  explicit Library(Object object) : Object(std::move(object)) {}
  Object function(const char* name, const FunctionConstants& constants, std::string& error) const {
    Id failure = nullptr;
    Object function = adopt(send<"newFunctionWithName:constantValues:error:", Id>(
        id(), objc::string(name), constants.id(), &failure));
    if (!function) error = objc::error_text(failure);
    return function;
  }
};

class ComputeEncoder : public Object {
 public:
  ComputeEncoder() = default;
  explicit ComputeEncoder(Object object) : Object(std::move(object)) {}
  void set_pipeline(const Pipeline& pipeline) {
    send<"setComputePipelineState:">(id(), pipeline.id());
  }
  void set_buffer(Id buffer, Integer offset, Integer index) {
    send<"setBuffer:offset:atIndex:">(id(), buffer, offset, index);
  }
  void set_bytes(const void* bytes, Integer length, Integer index) {
    send<"setBytes:length:atIndex:">(id(), bytes, length, index);
  }
  void dispatch(Size threadgroups, Size threads) {
    send<"dispatchThreadgroups:threadsPerThreadgroup:">(id(), threadgroups, threads);
  }
  void end() { send<"endEncoding">(id()); }
};

class CommandBuffer : public Object {
 public:
  CommandBuffer() = default;
  explicit CommandBuffer(Object object) : Object(std::move(object)) {}
  ComputeEncoder compute_encoder() {
    return ComputeEncoder(retain(send<"computeCommandEncoder", Id>(id())));
  }
  void commit() const { send<"commit">(id()); }
  void wait() const { send<"waitUntilCompleted">(id()); }
  bool completed() const {
    constexpr Integer kStatusCompleted = 4;
    return send<"status", Integer>(id()) == kStatusCompleted;
  }
  Integer error_code() const {
    const Id error = send<"error", Id>(id());
    return error ? static_cast<Integer>(send<"code", long>(error)) : 0;
  }
  std::string error_text() const { return objc::error_text(send<"error", Id>(id())); }
};

class CommandQueue : public Object {
 public:
  CommandQueue() = default;
  explicit CommandQueue(Object object) : Object(std::move(object)) {}
  CommandBuffer command_buffer() { return CommandBuffer(retain(send<"commandBuffer", Id>(id()))); }
};

class Device : public Object {
 public:
  Device() = default;
  explicit Device(Object object) : Object(std::move(object)) {}

  std::string name() const { return objc::to_string(send<"name", Id>(id())); }

  // Apple7 is the M1 and the A14: the first with simdgroup matrices.
  bool is_apple7() const {
    constexpr long kFamilyApple7 = 1007;
    return send<"supportsFamily:", bool>(id(), kFamilyApple7);
  }

  CommandQueue new_command_queue() const {
    return CommandQueue(adopt(send<"newCommandQueue", Id>(id())));
  }

  // A view of whole pages, which must outlive it and every command that uses it.
  Buffer new_buffer_no_copy(void* pages, Integer bytes) const {
    constexpr Integer kStorageModeShared = 0;
    const Id no_deallocator = nullptr;
    return Buffer(adopt(send<"newBufferWithBytesNoCopy:length:options:deallocator:", Id>(
        id(), pages, bytes, kStorageModeShared, no_deallocator)));
  }

  // Fast math would let the compiler assume that no number is infinite or NaN.
  Library new_library(const char* source, std::string& error) const {
    const Object options = objc::make("MTLCompileOptions");
    send<"setFastMathEnabled:">(options.id(), false);
    Id failure = nullptr;
    Library library(adopt(send<"newLibraryWithSource:options:error:", Id>(
        id(), objc::string(source), options.id(), &failure)));
    if (!library) error = objc::error_text(failure);
    return library;
  }

  Pipeline new_pipeline(const Object& function, std::string& error) const {
    Id failure = nullptr;
    Pipeline pipeline(adopt(
        send<"newComputePipelineStateWithFunction:error:", Id>(id(), function.id(), &failure)));
    if (!pipeline) error = objc::error_text(failure);
    return pipeline;
  }
};

// In a process of the command line the list can be empty although there is a default device, and
// the other way round.
inline std::vector<Device> devices() {
  const objc::AutoreleasePool pool;
  const Object all = Object::adopt(MTLCopyAllDevices());
  std::vector<Device> found;
  const Integer count = all ? send<"count", Integer>(all.id()) : 0;
  for (Integer i = 0; i < count; ++i) {
    found.emplace_back(Object::retain(send<"objectAtIndex:", Id>(all.id(), i)));
  }
  if (found.empty()) {
    Device only(Object::adopt(MTLCreateSystemDefaultDevice()));
    if (only) found.push_back(std::move(only));
  }
  return found;
}

}  // namespace openelm::mtl
