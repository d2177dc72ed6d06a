#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

namespace openelm::cuda {

// Throws the Error that `status` means: no memory, no usable device, or a failure of ours. `action`
// completes "cannot ...".
void check(cudaError_t status, const char* action);

// Work of one stream runs in order.
class Stream {
 public:
  // `overlaps_kernels`: the device can start a kernel before the one ahead of it has ended.
  explicit Stream(bool overlaps_kernels);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  bool overlaps_kernels() const { return overlaps_kernels_; }
  void synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
  const bool overlaps_kernels_;
};

// Marks a point in a stream.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Stream& stream);
  void wait(const char* action) const;  // on the host; `action` as for check()

 private:
  cudaEvent_t event_ = nullptr;
};

// What a stream was told between begin_capture() and end_capture(), to be launched at once.
class Graph {
 public:
  Graph() = default;
  ~Graph() { reset(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  bool begin_capture(const Stream& stream);  // whether it has
  void end_capture();
  void reset();  // also gives up a capture under way
  bool capturing() const { return capturing_ != nullptr; }
  bool ready() const { return executable_ != nullptr; }
  void launch(const Stream& stream) const;

 private:
  cudaStream_t capturing_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

// Lets a kernel ask for so much shared memory. All backends share the kernel, so that its limit
// only grows.
void allow_shared_memory(const void* kernel, int bytes);

// Memory of the current device, zeroed, and page-locked memory of the host, which the device copies
// from and to while both go on. Both throw Error{kOutOfMemory}.
std::shared_ptr<void> allocate_device(size_t bytes);
std::shared_ptr<void> allocate_pinned(size_t bytes);

}  // namespace openelm::cuda
