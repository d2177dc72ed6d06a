#include "cpu_backend.h"

#include <cstring>
#include <mutex>

#include "../error.h"
#include "../pages.h"

namespace openelm {

CpuBackend::CpuBackend(int threads, DType kv_cache_dtype)
    : kernels_(cpu_kernels()),
      pool_(threads),
      acc_(threads),
      kv_cache_dtype_(kv_cache_dtype),
      attention_scratch_(threads) {}

std::string CpuBackend::describe(int threads) {
  return std::string(cpu_kernels().name) + ", " + std::to_string(threads) +
         (threads == 1 ? " thread" : " threads");
}

std::string CpuBackend::device() const { return describe(pool_.threads()); }

Buffer CpuBackend::allocate(size_t bytes) { return {allocate_pages(bytes), bytes}; }

void CpuBackend::upload(const void* from, size_t bytes, const Buffer& to) {
  std::memcpy(to.as<void>(), from, bytes);
}

void CpuBackend::download(const Buffer& from, size_t bytes, void* to) {
  std::memcpy(to, from.as<void>(), bytes);
}

void CpuBackend::copy(const Buffer& from, size_t bytes, const Buffer& to) {
  std::memcpy(to.as<void>(), from.as<void>(), bytes);
}

// The body of a pool must not throw, so the first error of a thread waits for the others to end.
Matrix CpuBackend::load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                               LoadProgress& progress) {
  const int panels = packed_panels(source.rows, layout);
  const size_t panel_bytes = packed_panel_bytes(source.cols, dtype);
  const size_t bytes = panels * panel_bytes;
  Matrix matrix{{weight_pages_.allocate(bytes), bytes}, source.rows, source.cols, dtype};
  std::vector<PanelPacker> packers(pool_.threads(), PanelPacker(source, dtype, layout));
  std::mutex mutex;
  std::exception_ptr error;
  pool_.run(panels, [&](int panel, int thread) {
    try {
      progress.check();
      progress.add(packers[thread].pack(panel, matrix.data.as<char>() + panel * panel_bytes));
    } catch (...) {
      std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
  return matrix;
}

static size_t cache_bytes(int positions, int num_kv_heads, int width, DType dtype) {
  const int partitions = (positions + kPartition - 1) / kPartition;
  return size_t(partitions) * kPartition * num_kv_heads * width *
         (dtype == DType::kFloat16 ? 2 : 4);
}

size_t CpuBackend::k_cache_bytes(const Config& config, int layer, int positions) const {
  return cache_bytes(positions, config.num_kv_heads[layer], config.head_dim, kv_cache_dtype_);
}

size_t CpuBackend::v_cache_bytes(const Config& config, int layer, int positions) const {
  return cache_bytes(positions, config.num_kv_heads[layer], padded_head_dim(config.head_dim),
                     kv_cache_dtype_);
}

void CpuBackend::use(const Weights& weights) {
  Backend::use(weights);
  rope_ = RopeTable<float>(0, weights.config.head_dim, weights.config.rope_freq_constant);
}

void CpuBackend::begin(const Batch& batch, const std::atomic<bool>& cancelled) {
  cancelled_ = &cancelled;
  make_tiles(batch);
  rope_.extend(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
}

Input CpuBackend::prepare(const Matrix& matrix, const float* rows, int tokens) {
  Input input;
  input.cols = matrix.cols;
  input.groups = (matrix.cols + kGroupSize - 1) / kGroupSize;
  if (matrix.dtype != DType::kQ8 && matrix.dtype != DType::kQ4) {
    input.values = tokens == 1 ? rows : pack_input(rows, matrix.cols, tokens);
    return input;
  }

  const size_t groups = size_t(input.groups);
  quantized_.resize(std::max(quantized_.size(), tokens * groups * kGroupSize));
  input_scales_.resize(std::max(input_scales_.size(), tokens * groups));
  input_offsets_.resize(std::max(input_offsets_.size(), tokens * groups));
  parallel(tokens, [&](int t, int) {
    kernels_.quantize_input(rows + size_t(t) * input.cols, input.cols,
                            quantized_.data() + t * groups * kGroupSize,
                            input_scales_.data() + t * groups, input_offsets_.data() + t * groups);
  });
  input.quantized = quantized_.data();
  input.scales = input_scales_.data();
  input.offsets = input_offsets_.data();
  return input;
}

const float* CpuBackend::pack_input(const float* rows, int cols, int tokens) {
  packed_input_.resize(std::max(packed_input_.size(), size_t(tokens) * cols));
  parallel((cols + kColumnBlock - 1) / kColumnBlock, [&](int block, int) {
    kernels_.pack_input(rows, cols, tokens, block, packed_input_.data());
  });
  return packed_input_.data();
}

void CpuBackend::matmul_add(const Matrix& matrix, const Batch& batch, const float* rows, float* x) {
  const int tokens = batch.size();
  const Input input = prepare(matrix, rows, tokens);
  matmul(matrix, input, tokens, kTaskPanels, [&](int first_panel, int panels, const float* acc) {
    const int stride = panels * kPanelRows;
    const int row = first_panel * kPanelRows;
    const int size = std::min(stride, matrix.rows - row);
    for (int t = 0; t < tokens; ++t) {
      float* to = x + size_t(t) * matrix.rows + row;
      for (int i = 0; i < size; ++i) to[i] += acc[size_t(t) * stride + i];
    }
  });
}

Output CpuBackend::end(const Batch& batch, const Buffer& logits) {
  if (batch.logit_rows.empty()) return {};
  return {logits.as<float>(), nullptr};
}

void CpuBackend::run_tasks(int tasks, const std::function<void(int)>& body) {
  pool_.run(tasks, [&](int task, int) { body(task); });
}

}  // namespace openelm
