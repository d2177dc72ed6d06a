#include "mock_runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "../../../native/pages.h"
#include "hidden_writes.h"

using Work = std::function<void()>;

struct CUstream_st {
  std::deque<Work> work;
  cudaGraph_t capture = nullptr;
};

struct CUgraph_st {
  std::vector<Work> work;
};

struct CUgraphExec_st {
  std::vector<Work> work;
};

struct CUevent_st {
  cudaStream_t stream = nullptr;
  std::shared_ptr<bool> reached;
};

namespace emulator::cuda {
namespace {

constexpr size_t kDefaultSharedLimit = 48 * 1024;
constexpr size_t kLargestSharedLimit = 99 * 1024;  // of the smallest device since Ampere

std::recursive_mutex mutex;
struct Allocation {
  size_t bytes;
  std::shared_ptr<void> memory;
  bool is_weights = false;
};
// Never destroyed: threads still use them while a process exits.
auto& allocations = *new std::map<void*, Allocation>;
auto& shared_limits = *new std::map<const void*, size_t>;
auto& streams = *new std::set<CUstream_st*>;
cudaError_t last_error = cudaSuccess;

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

std::shared_ptr<void> fresh_memory(size_t bytes) {
  if (machine.sparse) return openelm::allocate_pages(bytes);
  constexpr size_t kAlignment = 256;
  void* memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (memory) std::memset(memory, 0xff, bytes);
  return {memory, std::free};
}

// Leaves pages alone that are so already.
void write(void* to, const void* from, size_t bytes) {
  if (!machine.sparse || std::memcmp(to, from, bytes) != 0) std::memcpy(to, from, bytes);
}

void run_next(CUstream_st& stream) {
  const Work work = std::move(stream.work.front());
  stream.work.pop_front();
  work();
}

void run_all(CUstream_st& stream) {
  while (!stream.work.empty()) run_next(stream);
}

}  // namespace

void enqueue(cudaStream_t stream, Work work) {
  Lock lock(mutex);
  if (!stream) {
    work();
  } else if (stream->capture) {
    stream->capture->work.push_back(std::move(work));
  } else {
    stream->work.push_back(std::move(work));
  }
}

void for_each_changing(const std::function<void(char*, size_t)>& visit) {
  Lock lock(mutex);
  for (const auto& [memory, allocation] : allocations) {
    if (!allocation.is_weights) visit(static_cast<char*>(memory), allocation.bytes);
  }
}

size_t shared_limit(const void* kernel) {
  Lock lock(mutex);
  const auto raised = shared_limits.find(kernel);
  return raised == shared_limits.end() ? kDefaultSharedLimit : raised->second;
}

cudaError_t check_launch(const void* kernel, dim3 grid, int block, size_t shared_bytes) {
  Lock lock(mutex);
  if (machine.fail_launch_after == 0) return result(cudaErrorLaunchFailure);
  if (machine.fail_launch_after > 0) --machine.fail_launch_after;
  const bool valid = grid.x && grid.y && grid.z && grid.y < 65536 && grid.z < 65536 && block > 0 &&
                     block <= 1024 && shared_bytes <= shared_limit(kernel);
  return result(valid ? cudaSuccess : cudaErrorInvalidConfiguration);
}

}  // namespace emulator::cuda

using namespace emulator::cuda;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine.missing != cudaSuccess ? 0 : machine.first_capability == 0 ? 1 : 2;
  return machine.missing;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (machine.missing != cudaSuccess) return result(machine.missing);
  const int count = machine.first_capability == 0 ? 1 : 2;
  return result(device < count ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const bool is_other = machine.first_capability != 0 && device == 0;
  const int capability = is_other ? machine.first_capability : machine.compute_capability;
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, is_other ? "another" : "emulated");
  properties->major = capability / 10;
  properties->minor = capability % 10;
  properties->multiProcessorCount = machine.multiprocessors;
  properties->sharedMemPerBlockOptin = kLargestSharedLimit;
  properties->totalGlobalMem = machine.memory;
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "an error of the emulated runtime";
  }
}

cudaError_t cudaGetLastError() {
  Lock lock(mutex);
  const cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  Lock lock(mutex);
  if (counters.live_bytes + bytes > machine.memory) return result(cudaErrorMemoryAllocation);
  std::shared_ptr<void> fresh = fresh_memory(bytes);
  if (!fresh) return result(cudaErrorMemoryAllocation);
  *memory = fresh.get();
  allocations[*memory] = {bytes, std::move(fresh)};
  ++counters.allocations;
  counters.live_bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  Lock lock(mutex);
  if (!memory) return cudaSuccess;
  for (CUstream_st* stream : streams) run_all(*stream);  // as the driver waits for the device
  end_all_launches();
  counters.live_bytes -= allocations.at(memory).bytes;
  allocations.erase(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  Lock lock(mutex);
  *memory = std::malloc(bytes);
  if (!*memory) return result(cudaErrorMemoryAllocation);
  std::memset(*memory, 0xff, bytes);
  ++counters.allocations;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  if (machine.sparse && value == 0) return cudaSuccess;  // it is fresh
  std::memset(memory, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] {
    end_all_launches();
    std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  enqueue(stream, [=] {
    end_all_launches();
    write(to, from, bytes);
    if (kind != cudaMemcpyDeviceToDevice) counters.copied_bytes += bytes;
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  enqueue(stream, [=] {
    end_all_launches();
    std::prev(allocations.upper_bound(to))->second.is_weights = true;
    for (size_t row = 0; row < height; ++row) {
      write(static_cast<char*>(to) + row * to_pitch,
            static_cast<const char*>(from) + row * from_pitch, width);
    }
    if (kind != cudaMemcpyDeviceToDevice) counters.copied_bytes += width * height;
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Lock lock(mutex);
  if (machine.fails_to_start) return result(cudaErrorUnknown);
  *stream = new CUstream_st;
  streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Lock lock(mutex);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Lock lock(mutex);
  if (!stream) return cudaSuccess;
  if (stream->capture) return result(cudaErrorStreamCaptureUnsupported);
  run_all(*stream);
  end_all_launches();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream;
  event->reached = std::make_shared<bool>(false);
  enqueue(stream, [reached = event->reached] { *reached = true; });
  return cudaSuccess;
}

// What comes behind the event in its stream stays there.
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Lock lock(mutex);
  if (!event->reached) return cudaSuccess;
  while (!*event->reached && !event->stream->work.empty()) run_next(*event->stream);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return result(cudaErrorIllegalState);
  if (!machine.captures) return result(cudaErrorStreamCaptureUnsupported);
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->capture) return result(cudaErrorIllegalState);
  *graph = stream->capture;
  stream->capture = nullptr;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  if (!machine.instantiates) return result(cudaErrorNotSupported);
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Lock lock(mutex);
  if (machine.fail_launch_after == 0) return result(cudaErrorLaunchFailure);
  ++counters.graphs;
  for (const Work& work : executable->work) enqueue(stream, work);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  Lock lock(mutex);
  *attributes = {};
  attributes->maxDynamicSharedSizeBytes = int(shared_limit(kernel));
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  Lock lock(mutex);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || size_t(value) > kLargestSharedLimit) return result(cudaErrorInvalidValue);
  shared_limits[kernel] = size_t(value);
  return cudaSuccess;
}

}  // extern "C"
