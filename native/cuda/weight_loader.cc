#include "weight_loader.h"

#include <algorithm>

#include "matrix_view.h"

namespace openelm::cuda {

static constexpr int kReadTasks = 16;  // for each piece: enough to share out evenly

static void copy_rows(const Stream& stream, void* to, size_t to_pitch, const void* from,
                      size_t row_bytes, int rows) {
  check(cudaMemcpy2DAsync(to, to_pitch, from, row_bytes, row_bytes, size_t(rows),
                          cudaMemcpyHostToDevice, stream.get()),
        "copy weights");
}

struct WeightLoader::Part {
  int first_row;
  int rows;
  char* values;  // of the first row, on the device
  char* scales;
  size_t value_pitch;
  size_t scale_pitch;
};

WeightLoader::WeightLoader(HostThreads& threads) : threads_(threads) {}

// values [count, value row], scales [count, scale row]
void WeightLoader::read_rows(const TensorSource& source, DType dtype, int first_row, int count,
                             char* values, char* scales) {
  const size_t value_bytes = value_row_bytes(dtype, source.cols);
  const size_t scale_bytes = scale_row_bytes(dtype, source.cols);
  const int tasks = std::min(count, kReadTasks);
  const auto boundary = [&](int task) { return int(int64_t(count) * task / tasks); };
  threads_.run(tasks, [&](int task) {
    const int first = boundary(task);
    RowReader(source).read(dtype, first_row + first, boundary(task + 1) - first,
                           values + first * value_bytes,
                           reinterpret_cast<uint16_t*>(scales + first * scale_bytes));
  });
}

WeightLoader::Slot& WeightLoader::next_slot(size_t bytes) {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % kSlots;
  slot.copied.wait("copy weights");
  if (slot.bytes < bytes) {
    slot.memory = nullptr;
    slot.bytes = 0;
    slot.memory = allocate_pinned(bytes);
    slot.bytes = bytes;
  }
  return slot;
}

void WeightLoader::load_part(const TensorSource& source, DType dtype, const Part& part,
                             LoadProgress& progress) {
  const size_t value_bytes = value_row_bytes(dtype, source.cols);
  const size_t scale_bytes = scale_row_bytes(dtype, source.cols);
  const int most_rows = int(std::max<size_t>(1, kSlotBytes / (value_bytes + scale_bytes)));
  for (int first = 0; first < part.rows; first += most_rows) {
    progress.check();
    const int rows = std::min(most_rows, part.rows - first);
    Slot& slot = next_slot(rows * (value_bytes + scale_bytes));
    char* const values = static_cast<char*>(slot.memory.get());
    char* const scales = values + rows * value_bytes;
    read_rows(source, dtype, part.first_row + first, rows, values, scales);
    copy_rows(stream_, part.values + first * part.value_pitch, part.value_pitch, values,
              value_bytes, rows);
    if (scale_bytes > 0) {
      copy_rows(stream_, part.scales + first * part.scale_pitch, part.scale_pitch, scales,
                scale_bytes, rows);
    }
    slot.copied.record(stream_);
    progress.add((source.row_bytes() + source.scale_row_bytes()) * rows);
  }
}

Matrix WeightLoader::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                                 LoadProgress& progress) {
  const size_t value_bytes = stride_bytes(dtype, source.cols);
  const size_t scale_bytes = scale_row_bytes(dtype, source.cols);
  const size_t bytes = (value_bytes + scale_bytes) * source.rows;
  Matrix matrix{{allocate_device(bytes), bytes}, source.rows, source.cols, dtype};
  char* const values = matrix.data.as<char>();
  char* const scales = values + value_bytes * source.rows;
  // Also when a read fails: the memory must outlive the copies to it.
  const std::unique_ptr<const Stream, void (*)(const Stream*)> finish(
      &stream_, [](const Stream* stream) { cudaStreamSynchronize(stream->get()); });

  // Gate and up rows alternate, so that one warp, or one lane's accumulators, has both of a pair.
  const int parts = layout == MatrixLayout::kGateUp ? 2 : 1;
  for (int i = 0; i < parts; ++i) {
    const int rows = source.rows / parts;
    load_part(source, dtype,
              {i * rows, rows, values + i * value_bytes, scales + i * scale_bytes,
               parts * value_bytes, parts * scale_bytes},
              progress);
  }
  stream_.synchronize();
  return matrix;
}

}  // namespace openelm::cuda
