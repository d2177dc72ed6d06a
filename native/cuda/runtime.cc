#include "runtime.h"

#include <mutex>
#include <string>

#include "../error.h"

namespace openelm::cuda {

void check(cudaError_t status, const char* action) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report it again
  const std::string what =
      std::string("cannot ") + action + " on the GPU: " + cudaGetErrorString(status);
  switch (status) {
    case cudaErrorMemoryAllocation:
      throw Error(ErrorCode::kOutOfMemory,
                  what + "; use a smaller dtype or contextLength, or free some of its memory");
    case cudaErrorInsufficientDriver:
      throw Error(ErrorCode::kBackendUnavailable,
                  std::string("the NVIDIA driver is missing or older than version ") +
                      (CUDART_VERSION >= 13000 ? "580" : "550"));
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorInitializationError:
      throw Error(ErrorCode::kBackendUnavailable, what);
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw Error(ErrorCode::kBackendUnavailable,
                  what + "; it needs compute capability 7.5 and a recent driver");
    default:
      throw Error(ErrorCode::kInternal,
                  what + "; the GPU cannot be used again until the process has been restarted");
  }
}

Stream::Stream(bool overlaps_kernels) : overlaps_kernels_(overlaps_kernels) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "create a stream");
}

Stream::~Stream() { cudaStreamDestroy(stream_); }

void Stream::synchronize() const { check(cudaStreamSynchronize(stream_), "run the model"); }

Event::Event() {
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "create an event");
}

Event::~Event() { cudaEventDestroy(event_); }

void Event::record(const Stream& stream) {
  check(cudaEventRecord(event_, stream.get()), "record an event");
}

void Event::wait(const char* action) const { check(cudaEventSynchronize(event_), action); }

bool Graph::begin_capture(const Stream& stream) {
  reset();
  // Relaxed: other threads may allocate meanwhile.
  if (cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  capturing_ = stream.get();
  return true;
}

void Graph::end_capture() {
  cudaGraph_t graph = nullptr;
  const cudaError_t captured = cudaStreamEndCapture(capturing_, &graph);
  capturing_ = nullptr;
  check(captured, "capture a graph");
  const cudaError_t instantiated = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(instantiated, "instantiate a graph");
}

void Graph::reset() {
  if (capturing_) {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(capturing_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    capturing_ = nullptr;
  }
  if (executable_) cudaGraphExecDestroy(executable_);
  executable_ = nullptr;
}

void Graph::launch(const Stream& stream) const {
  check(cudaGraphLaunch(executable_, stream.get()), "launch a graph");
}

void allow_shared_memory(const void* kernel, int bytes) {
  constexpr int kEveryBlock = 48 << 10;  // static and dynamic together
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), "ask about a kernel");
  const int most = attributes.maxDynamicSharedSizeBytes;
  if (bytes + int(attributes.sharedSizeBytes) <= kEveryBlock) return;
  if (most >= bytes && most > kEveryBlock) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "give a kernel shared memory");
}

std::shared_ptr<void> allocate_device(size_t bytes) {
  if (bytes == 0) return nullptr;
  bytes = (bytes + 15) / 16 * 16;  // which kernels read at a time
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "allocate memory");
  // The address says of which device it is. Another must not be selected for it: that would take
  // hundreds of megabytes of a device that nobody uses.
  std::shared_ptr<void> owner(memory, [](void* p) { cudaFree(p); });
  check(cudaMemset(memory, 0, bytes), "clear memory");
  check(cudaStreamSynchronize(nullptr), "clear memory");  // our streams do not wait for this one
  return owner;
}

std::shared_ptr<void> allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes), "allocate page-locked memory");
  return std::shared_ptr<void>(memory, [](void* p) { cudaFreeHost(p); });
}

}  // namespace openelm::cuda
