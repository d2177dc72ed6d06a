#include "mock_metal.h"

#include <unistd.h>

#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "../block.h"
#include "mock_objc.h"
#include "runtime.h"

namespace emulator::metal {
namespace {

// A class of which programs make objects with `new`.
template <typename T>
struct ClassOf : Of<ClassOf<T>> {
  explicit ClassOf(const char* name) { register_class(name, this); }
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
  static Methods methods() {
    return {{"maxTotalThreadsPerThreadgroup",
             method([](Pipeline* self, Selector) { return Integer(self->kernel->max_threads); })}};
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
    require(threads.width * threads.height * threads.depth <= pipeline->kernel->max_threads,
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

struct CommandBuffer;
using Pending = std::deque<Ref<CommandBuffer>>;

// Runs as late as it may: when it, or a later one of its queue, is waited for. So it finds memory
// gone that a program gave back too early.
struct CommandBuffer : Of<CommandBuffer> {
  enum Status : Integer { kNotEnqueued = 0, kCommitted = 2, kCompleted = 4, kError = 5 };
  explicit CommandBuffer(std::shared_ptr<Pending> pending) : pending(std::move(pending)) {}
  static Methods methods();

  void commit() {
    require(status == kNotEnqueued, "a command buffer was committed twice");
    require(!encoder || encoder->ended, "a command buffer was committed while it is encoded");
    ++counters.command_buffers;
    const std::lock_guard lock(mutex());
    status = kCommitted;
    pending->push_back(Ref<CommandBuffer>(this));
  }

  void wait() {
    const std::lock_guard lock(mutex());
    require(status != kNotEnqueued, "a wait for what was never committed");
    while (status == kCommitted) {
      const Ref<CommandBuffer> next = pending->front();
      pending->pop_front();
      next->run();
    }
  }

  void run() {
    status = kError;
    if (fault == Fault::kCommand) return;
    for (const Dispatch& dispatch : *dispatches) dispatch.run();
    status = kCompleted;
  }

  // One for all: there is one set of function constants.
  static std::mutex& mutex() {
    static std::mutex all;
    return all;
  }

  const std::shared_ptr<Pending> pending;  // of its queue
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
      {"waitUntilCompleted", method([](CommandBuffer* self, Selector) { self->wait(); })},
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
    return {{"commandBuffer", method([](Queue* self, Selector) {
               return autorelease(new CommandBuffer(self->pending));
             })}};
  }
  const std::shared_ptr<Pending> pending = std::make_shared<Pending>();
};

struct Device : Of<Device> {
  static Methods methods();
};

Id new_buffer(Id, Selector, char* pages, Integer bytes, Integer, Id) {
  if (fault == Fault::kBuffer) return nullptr;
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
      {"supportsFamily:", method([](Id, Selector, long) { return fault != Fault::kOldDevice; })},
      {"newCommandQueue",
       method([](Id, Selector) -> Id { return static_cast<Object*>(new Queue); })},
      {"newBufferWithBytesNoCopy:length:options:deallocator:", method(&new_buffer)},
      {"newLibraryWithSource:options:error:",
       method([](Id, Selector, String* source, CompileOptions*, Id* error) -> Id {
         if (fault == Fault::kLibrary) return fail_with(error, "a planted compiler error");
         auto* library = new Library;
         library->source = source->text;
         return static_cast<Object*>(library);
       })},
      {"newComputePipelineStateWithFunction:error:",
       method([](Id, Selector, Function* function, Id* error) -> Id {
         if (fault == Fault::kPipeline) return fail_with(error, "a planted pipeline error");
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
        {"count", method([](Id, Selector) -> Integer {
           return fault == Fault::kNoDevice || fault == Fault::kNoList ? 0 : 1;
         })},
        {"objectAtIndex:", method([](Id, Selector, Integer) { return autorelease(new Device); })}};
  }
};

// Never destroyed: passes may still run when the process ends.
auto& compile_options = *new ClassOf<CompileOptions>("MTLCompileOptions");
auto& constant_values = *new ClassOf<ConstantValues>("MTLFunctionConstantValues");

}  // namespace
}  // namespace emulator::metal

extern "C" void* MTLCreateSystemDefaultDevice(void) {
  using namespace emulator::metal;
  if (fault == Fault::kNoDevice || fault == Fault::kNoDefault) return nullptr;
  return static_cast<Object*>(new Device);
}

extern "C" void* MTLCopyAllDevices(void) {
  return static_cast<emulator::metal::Object*>(new emulator::metal::DeviceArray);
}
