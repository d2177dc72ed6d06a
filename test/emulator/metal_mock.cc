#include "metal_mock.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

#include "block.h"
#include "metal_runtime.h"

namespace emulator::metal {
namespace {

// What Objective-C and Metal end the process for, the mock ends it for too.
[[noreturn]] void misuse(const std::string& message) {
  std::fprintf(stderr, "Metal mock: %s\n", message.c_str());
  std::abort();
}

void require(bool condition, const char* message) {
  if (!condition) misuse(message);
}

using Id = void*;
using Selector = const char*;
using Integer = unsigned long;
using Method = void (*)();
using Methods = std::map<std::string, Method>;

struct Object {
  explicit Object(const Methods& methods) : methods(methods) { ++counters.live_objects; }
  virtual ~Object() { --counters.live_objects; }
  const Methods& methods;
  int references = 1;
};

// An object of a class T, whose methods are the functions T::methods().
template <typename T>
struct Of : Object {
  Of() : Object(table()) {}
  static const Methods& table() {
    static const Methods methods = T::methods();
    return methods;
  }
};

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

thread_local std::vector<std::vector<Object*>> pools;

Id autorelease(Object* object) {
  if (pools.empty()) {
    ++counters.autoreleases_without_pool;
  } else {
    pools.back().push_back(object);
  }
  return object;
}

struct String : Of<String> {
  explicit String(std::string text) : text(std::move(text)) {}
  static Methods methods() {
    return {{"UTF8String", method([](String* self, Selector) { return self->text.c_str(); })}};
  }
  const std::string text;
};

struct StringClass : Of<StringClass> {
  static Methods methods() {
    return {{"stringWithUTF8String:",
             method([](Id, Selector, const char* text) { return autorelease(new String(text)); })}};
  }
};

struct Error : Of<Error> {
  explicit Error(std::string text, long code = 1) : text(std::move(text)), code(code) {}
  static Methods methods() {
    return {{"localizedDescription",
             method([](Error* self, Selector) { return autorelease(new String(self->text)); })},
            {"code", method([](Error* self, Selector) { return self->code; })}};
  }
  const std::string text;
  const long code;
};

Id fail_with(Id* error, const std::string& text) {
  if (error) *error = autorelease(new Error(text));
  return nullptr;
}

template <typename T>
struct ClassOf : Of<ClassOf<T>> {
  static Methods methods() {
    return {{"new", method([](Id, Selector) -> Id { return static_cast<Object*>(new T); })}};
  }
};

struct CompileOptions : Of<CompileOptions> {
  static Methods methods() {
    return {{"setFastMathEnabled:", method([](Id, Selector, bool) {})}};
  }
};

struct ConstantValues : Of<ConstantValues> {
  static Methods methods() {
    return {
        {"setConstantValue:type:atIndex:",
         method([](ConstantValues* self, Selector, const void* value, Integer type, Integer index) {
           require(type == 33, "a function constant that is not a uint");
           std::memcpy(&self->values[int(index)], value, sizeof(uint32_t));
         })}};
  }
  std::map<int, uint32_t> values;
};

struct Function : Of<Function> {
  static Methods methods() { return {}; }
  const Kernel* kernel = nullptr;
  std::map<int, uint32_t> constants;
};

struct Pipeline : Of<Pipeline> {
  static constexpr Integer kMaxThreads = 1024;
  static Methods methods() {
    return {{"maxTotalThreadsPerThreadgroup", method([](Id, Selector) { return kMaxThreads; })}};
  }
  const Kernel* kernel = nullptr;
  std::map<int, uint32_t> constants;
};

struct Library : Of<Library> {
  static Methods methods() {
    return {{"newFunctionWithName:constantValues:error:",
             method([](Library* self, Selector, String* name, ConstantValues* constants,
                       Id* error) -> Id {
               const auto kernel = kernels().find(name->text);
               if (kernel == kernels().end() ||
                   self->source.find("kernel void " + name->text + "(") == std::string::npos) {
                 return fail_with(error, "no kernel " + name->text);
               }
               for (const auto& [index, at] : function_constants()) {
                 if (!constants->values.contains(index)) {
                   return fail_with(error, "no function constant " + std::to_string(index));
                 }
               }
               auto* function = new Function;
               function->kernel = &kernel->second;
               function->constants = constants->values;
               return static_cast<Object*>(function);
             })}};
  }
  std::string source;
};

struct Buffer : Of<Buffer> {
  static Methods methods() { return {}; }
  char* pages = nullptr;
  Integer bytes = 0;
};

struct Size {
  Integer width, height, depth;
};

struct Argument {
  Ref<Buffer> buffer;
  Integer offset = 0;
  std::shared_ptr<std::vector<char>> bytes;  // of setBytes

  void* data() const { return bytes ? bytes->data() : buffer->pages + offset; }
};

struct Dispatch {
  Ref<Pipeline> pipeline;
  std::map<int, Argument> arguments;
  Size threadgroups, threads;

  void run() const {
    for (const auto& [index, at] : function_constants()) *at = pipeline->constants.at(index);
    void* data[31] = {};
    for (const auto& [index, argument] : arguments) data[index] = argument.data();
    const Position size{uint32_t(threads.width), uint32_t(threads.height), uint32_t(threads.depth)};
    const int lanes = int(threads.width * threads.height * threads.depth);
    for (uint32_t z = 0; z < threadgroups.depth; ++z) {
      for (uint32_t y = 0; y < threadgroups.height; ++y) {
        for (uint32_t x = 0; x < threadgroups.width; ++x) {
          run_block(lanes, kMaxThreadgroupMemory, [&](int lane) {
            pipeline->kernel->run(Invocation{data, {x, y, z}, size, uint32_t(lane)});
          });
        }
      }
    }
    ++counters.dispatches;
  }
};

struct Encoder : Of<Encoder> {
  ~Encoder() override { require(ended, "an encoder was released before endEncoding"); }
  static Methods methods();
  void dispatch(Size threadgroups, Size threads) {
    require(bool(pipeline), "a dispatch without a pipeline");
    require(threads.width * threads.height * threads.depth <= Pipeline::kMaxThreads,
            "more threads than the pipeline takes");
    require(threadgroups.width * threadgroups.height * threadgroups.depth > 0, "an empty dispatch");
    for (const int index : pipeline->kernel->buffers) {
      require(arguments.contains(index), "a dispatch lacks a buffer");
    }
    dispatches->push_back({pipeline, arguments, threadgroups, threads});
  }

  std::shared_ptr<std::vector<Dispatch>> dispatches;
  Ref<Pipeline> pipeline;
  std::map<int, Argument> arguments;
  bool ended = false;
};

Methods Encoder::methods() {
  return {
      {"setComputePipelineState:", method([](Encoder* self, Selector, Pipeline* pipeline) {
         self->pipeline = Ref<Pipeline>(pipeline);
       })},
      {"setBuffer:offset:atIndex:",
       method([](Encoder* self, Selector, Buffer* buffer, Integer offset, Integer index) {
         require(buffer && index < 31 && offset < buffer->bytes, "a binding outside of its buffer");
         self->arguments[int(index)] = {Ref<Buffer>(buffer), offset, nullptr};
       })},
      {"setBytes:length:atIndex:",
       method([](Encoder* self, Selector, const char* bytes, Integer length, Integer index) {
         require(index < 31 && length <= 4096, "setBytes of more than 4 KB");
         counters.inline_bytes += length;
         self->arguments[int(index)].bytes =
             std::make_shared<std::vector<char>>(bytes, bytes + length);
       })},
      {"dispatchThreadgroups:threadsPerThreadgroup:",
       method([](Encoder* self, Selector, Size threadgroups, Size threads) {
         self->dispatch(threadgroups, threads);
       })},
      {"endEncoding", method([](Encoder* self, Selector) { self->ended = true; })},
  };
}

struct CommandBuffer : Of<CommandBuffer> {
  enum Status : Integer { kNotEnqueued = 0, kCompleted = 4, kError = 5 };
  static Methods methods();
  void commit() {
    static std::mutex mutex;  // the function constants are one set
    const std::lock_guard lock(mutex);
    require(status == kNotEnqueued, "a command buffer was committed twice");
    require(!encoder || encoder->ended, "a command buffer was committed while it is encoded");
    ++counters.command_buffers;
    if (failure == Failure::kCommand) {
      status = kError;
      return;
    }
    for (const Dispatch& dispatch : *dispatches) dispatch.run();
    status = kCompleted;
  }

  std::shared_ptr<std::vector<Dispatch>> dispatches = std::make_shared<std::vector<Dispatch>>();
  Ref<Encoder> encoder;
  Integer status = kNotEnqueued;
};

Methods CommandBuffer::methods() {
  return {
      {"computeCommandEncoder", method([](CommandBuffer* self, Selector) {
         auto* encoder = new Encoder;
         encoder->dispatches = self->dispatches;
         self->encoder = Ref<Encoder>(encoder);
         return autorelease(encoder);
       })},
      {"commit", method([](CommandBuffer* self, Selector) { self->commit(); })},
      {"waitUntilCompleted", method([](CommandBuffer* self, Selector) {
         require(self->status != kNotEnqueued, "a wait for what was never committed");
       })},
      {"status", method([](CommandBuffer* self, Selector) { return self->status; })},
      {"error", method([](CommandBuffer* self, Selector) -> Id {
         if (self->status != kError) return nullptr;
         constexpr long kOutOfMemory = 8;
         return autorelease(new Error("Insufficient Memory", kOutOfMemory));
       })},
  };
}

struct Queue : Of<Queue> {
  static Methods methods() {
    return {{"commandBuffer", method([](Id, Selector) { return autorelease(new CommandBuffer); })}};
  }
};

struct Device : Of<Device> {
  static Methods methods();
};

Id new_buffer(Id, Selector, char* pages, Integer bytes, Integer, Id) {
  if (failure == Failure::kBuffer) return nullptr;
  const Integer page = Integer(sysconf(_SC_PAGESIZE));
  require(reinterpret_cast<uintptr_t>(pages) % page == 0 && bytes % page == 0 && bytes > 0,
          "a no-copy buffer that is not whole pages");
  ++counters.buffers;
  auto* buffer = new Buffer;
  buffer->pages = pages;
  buffer->bytes = bytes;
  return static_cast<Object*>(buffer);
}

Methods Device::methods() {
  return {
      {"name", method([](Id, Selector) { return autorelease(new String("emulated")); })},
      {"supportsFamily:",
       method([](Id, Selector, long) { return failure != Failure::kOldDevice; })},
      {"newCommandQueue",
       method([](Id, Selector) -> Id { return static_cast<Object*>(new Queue); })},
      {"newBufferWithBytesNoCopy:length:options:deallocator:", method(&new_buffer)},
      {"newLibraryWithSource:options:error:",
       method([](Id, Selector, String* source, CompileOptions*, Id* error) -> Id {
         if (failure == Failure::kLibrary) return fail_with(error, "a planted compiler error");
         auto* library = new Library;
         library->source = source->text;
         return static_cast<Object*>(library);
       })},
      {"newComputePipelineStateWithFunction:error:",
       method([](Id, Selector, Function* function, Id* error) -> Id {
         if (failure == Failure::kPipeline) return fail_with(error, "a planted pipeline error");
         ++counters.pipelines;
         auto* pipeline = new Pipeline;
         pipeline->kernel = function->kernel;
         pipeline->constants = function->constants;
         return static_cast<Object*>(pipeline);
       })},
  };
}

struct DeviceArray : Of<DeviceArray> {
  static Methods methods() {
    return {
        {"count",
         method([](Id, Selector) -> Integer { return failure == Failure::kNoDevice ? 0 : 1; })},
        {"objectAtIndex:", method([](Id, Selector, Integer) { return autorelease(new Device); })}};
  }
};

}  // namespace
}  // namespace emulator::metal

// The runtime's own functions.

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
  static std::set<std::string> names;
  const std::lock_guard lock(mutex);
  return const_cast<char*>(names.insert(name).first->c_str());
}

void* objc_getClass(const char* name) {
  static const std::map<std::string, Object*> classes = {
      {"NSString", new StringClass},
      {"MTLCompileOptions", new ClassOf<CompileOptions>},
      {"MTLFunctionConstantValues", new ClassOf<ConstantValues>},
  };
  return classes.at(name);
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

void* MTLCopyAllDevices(void) { return static_cast<Object*>(new DeviceArray); }

}  // extern "C"
