#pragma once

#include <memory>
#include <vector>

#include "../host_threads.h"
#include "../model/model.h"
#include "../model/tensor_source.h"
#include "runtime.h"

namespace openelm::cuda {

// Reads weights into device memory through page-locked staging: while one piece is on its way to
// the device, the next is read, and converted or quantised, by the threads of the host. One caller
// at a time.
class WeightLoader {
 public:
  explicit WeightLoader(HostThreads& threads);

  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress);

 private:
  static constexpr int kSlots = 2;
  static constexpr size_t kSlotBytes = size_t(8) << 20;

  struct Slot {
    std::shared_ptr<void> memory;  // page-locked
    size_t bytes = 0;
    Event copied;
  };
  struct Part;  // rows of a tensor and where they go

  void read_rows(const TensorSource& source, DType dtype, int first_row, int count, char* values,
                 char* scales);
  Slot& next_slot(size_t bytes);
  void load_part(const TensorSource& source, DType dtype, const Part& part, LoadProgress& progress);

  HostThreads& threads_;
  Stream stream_{false};
  Slot slots_[kSlots];
  int next_ = 0;
};

}  // namespace openelm::cuda
