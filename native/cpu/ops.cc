// All of a forward pass but attention and what adapters add.

#include <algorithm>
#include <cstring>
#include <numeric>

#include "../dtype.h"
#include "../model/kv_cache.h"
#include "cpu_backend.h"
#include "pack.h"

namespace openelm::cpu {

void CpuBackend::begin(const Batch& batch, const std::atomic<bool>& cancelled) {
  workers_.cancelled = &cancelled;
  make_tiles(batch);
  find_adapters(batch);
  rope_.extend(*std::max_element(batch.positions.begin(), batch.positions.end()) + 1);
}

void CpuBackend::embed(const Batch& batch, const Buffer& x) {
  const Matrix& embeddings = weights_->token_embeddings;
  const DType dtype = embeddings.dtype;
  float* to = x.as<float>();
  for (int token : batch.tokens) {
    const uint8_t* panel = embeddings.data.as<uint8_t>() +
                           token / kPanelRows * packed_panel_bytes(embeddings.cols, dtype);
    for (int c = 0; c < embeddings.cols; ++c) {
      *to++ = packed_element(panel, token % kPanelRows, c, dtype);
    }
  }
  for (const AdapterRun& run : adapter_runs_) {
    for (int t = run.first_token; t < run.first_token + run.num_tokens; ++t) {
      add_embedding(run.adapter->token_embeddings, batch.tokens[t],
                    x.as<float>() + size_t(t) * embeddings.cols);
    }
  }
}

namespace {

// Finishes one head of one token, in place in the product: norm and RoPE, then to q or the cache.
struct HeadFinisher {
  const Kernels& kernels;
  const Config& config;
  const Layer& layer;
  const DType cache_dtype;
  const RopeTable<float>& rope;

  void norm_and_rope(float* head, const Buffer& norm, int position) const {
    const int h = config.head_dim;
    if (config.normalize_qk_projections) {
      kernels.rms_norm(head, norm.as<float>(), config.rms_norm_eps, h, head);
    }
    kernels.rope(head, rope.cos(position), rope.sin(position), h);
  }

  void query(float* head, int index, int position, float* q) const {
    const int h = config.head_dim;
    norm_and_rope(head, layer.q_norm, position);
    std::copy(head, head + h, q + size_t(index) * h);
  }

  // Element j goes to begin + j / 16 * panel_stride + j % 16 * stride.
  void store(const float* head, void* cache, size_t begin, size_t panel_stride, int stride) const {
    for (int first = 0; first < config.head_dim; first += kPanelRows, begin += panel_stride) {
      const int count = std::min(kPanelRows, config.head_dim - first);
      if (cache_dtype == DType::kFloat16) {
        float clamped[kPanelRows];
        for (int j = 0; j < count; ++j) {
          clamped[j] = std::clamp(head[first + j], -kMaxFloat16, kMaxFloat16);
        }
        uint16_t halves[kPanelRows];
        kernels.to_f16(clamped, count, halves);
        auto* to = static_cast<uint16_t*>(cache) + begin;
        for (int j = 0; j < count; ++j) to[j * stride] = halves[j];
      } else {
        auto* to = static_cast<float*>(cache) + begin;
        for (int j = 0; j < count; ++j) to[j * stride] = head[first + j];
      }
    }
  }

  // Where the partition of a position begins in the cache, in rows of a head.
  size_t partition(int index, int position) const {
    return (size_t(position / kPartition) * layer.num_kv_heads + index) * kPartition;
  }

  void key(float* head, int index, int position, const KvCache& cache) const {
    norm_and_rope(head, layer.k_norm, position);
    const int row = position % kPartition;
    const size_t panel = partition(index, position) + row / kPanelRows * kPanelRows;
    store(head, cache.k(layer.index).as<void>(), panel * config.head_dim + row % kPanelRows,
          kPanelRows * kPanelRows, kPanelRows);
  }

  void value(const float* head, int index, int position, const KvCache& cache) const {
    const size_t begin = partition(index, position) * padded_head_dim(config.head_dim);
    store(head, cache.v(layer.index).as<void>(), begin + size_t(position % kPartition) * kPanelRows,
          kPartition * kPanelRows, 1);
  }
};

}  // namespace

void CpuBackend::norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x,
                          const Buffer& q) {
  const Config& config = weights_->config;
  const int h = config.head_dim;
  const int tokens = batch.size();
  const int num_heads = layer.num_query_heads + 2 * layer.num_kv_heads;
  const int first_key = layer.num_query_heads;
  const int first_value = first_key + layer.num_kv_heads;
  const HeadFinisher finish{kernels_, config, layer, kv_cache_dtype_, rope_};
  const Input input = matmul_.prepare(
      layer.qkv_proj, {x.as<float>(), tokens, layer.attn_norm.as<float>(), config.rms_norm_eps,
                       nullptr, adapted(layer, &AdaptedLayer::qkv_proj)});

  // A task holds whole heads, so that the thread which multiplied them can finish them.
  const int task_panels = std::lcm(h, kPanelRows) / kPanelRows;
  const auto finish_heads = [&](int first_panel, int panels, float* acc) {
    const int stride = panels * kPanelRows;
    const int first_head = first_panel * kPanelRows / h;
    const int end_head = std::min(num_heads, first_head + stride / h);
    for (int t = 0; t < tokens; ++t) {
      const int position = batch.positions[t];
      const KvCache& cache = *batch.caches[t];
      for (int head = first_head; head < end_head; ++head) {
        float* values = acc + size_t(t) * stride + size_t(head - first_head) * h;
        if (head < first_key) {
          finish.query(values, head, position,
                       q.as<float>() + size_t(t) * layer.num_query_heads * h);
        } else if (head < first_value) {
          finish.key(values, head - first_key, position, cache);
        } else {
          finish.value(values, head - first_value, position, cache);
        }
      }
    }
  };
  matmul_.multiply(layer.qkv_proj, input, tokens, task_panels, finish_heads);
}

// to += matrix * from
void CpuBackend::product_add(const Matrix& matrix, std::span<const AdaptedRows> adapted,
                             int num_tokens, const Buffer& from, const Buffer& to) {
  const Input input =
      matmul_.prepare(matrix, {from.as<float>(), num_tokens, nullptr, 0, nullptr, adapted});
  const auto add = [&](int first_panel, int panels, const float* acc) {
    const int stride = panels * kPanelRows;
    const int first = first_panel * kPanelRows;
    const int size = std::min(stride, matrix.rows - first);
    for (int t = 0; t < num_tokens; ++t) {
      float* sum = to.as<float>() + size_t(t) * matrix.rows + first;
      for (int i = 0; i < size; ++i) sum[i] += acc[size_t(t) * stride + i];
    }
  };
  matmul_.multiply(matrix, input, num_tokens, Matmul::kTaskPanels, add);
}

void CpuBackend::out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                              const Buffer& x) {
  product_add(layer.out_proj, adapted(layer, &AdaptedLayer::out_proj), batch.size(), a, x);
}

void CpuBackend::norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                             const Buffer& g) {
  const Config& config = weights_->config;
  const int tokens = batch.size();
  const int f = layer.ffn_dim;
  const bool glu = config.ffn_with_glu;
  const Input input = matmul_.prepare(
      layer.proj_1, {x.as<float>(), tokens, layer.ffn_norm.as<float>(), config.rms_norm_eps,
                     nullptr, adapted(layer, &AdaptedLayer::proj_1)});
  // With GLU the panels alternate between gate and up, and a pair of them makes one panel of g.
  const auto activate = [&](int first_panel, int panels, float* acc) {
    const int stride = panels * kPanelRows;
    const int first = (glu ? first_panel / 2 : first_panel) * kPanelRows;
    const int size = std::min(glu ? stride / 2 : stride, f - first);
    for (int t = 0; t < tokens; ++t) {
      float* row = acc + size_t(t) * stride;
      if (glu) {
        kernels_.swiglu(row, panels / 2, row);
      } else {
        kernels_.silu(row, stride);
      }
      std::memcpy(g.as<float>() + size_t(t) * f + first, row, size_t(size) * sizeof(float));
    }
  };
  matmul_.multiply(layer.proj_1, input, tokens, Matmul::kTaskPanels, activate);
}

void CpuBackend::ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                              const Buffer& x) {
  product_add(layer.proj_2, adapted(layer, &AdaptedLayer::proj_2), batch.size(), g, x);
}

void CpuBackend::norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) {
  const Matrix& head = weights_->lm_head;
  const int rows = int(batch.logit_rows.size());
  const Input input = matmul_.prepare(
      head, {x.as<float>(), rows, weights_->norm.as<float>(), weights_->config.rms_norm_eps,
             batch.logit_rows.data(), adapted_head(batch)});
  const auto store = [&](int first_panel, int panels, const float* acc) {
    const int stride = panels * kPanelRows;
    const int first = first_panel * kPanelRows;
    const int size = std::min(stride, head.rows - first);
    for (int i = 0; i < rows; ++i) {
      std::memcpy(logits.as<float>() + size_t(i) * head.rows + first, acc + size_t(i) * stride,
                  size_t(size) * sizeof(float));
    }
  };
  matmul_.multiply(head, input, rows, Matmul::kTaskPanels, store);
}

Output CpuBackend::end(const Batch& batch, const Buffer& logits) {
  if (batch.logit_rows.empty()) return {};
  return {logits.as<float>(), nullptr};
}

void CpuBackend::run_tasks(int tasks, const std::function<void(int)>& body) {
  workers_.pool.run(tasks, [&](int task, int) { body(task); });
}

}  // namespace openelm::cpu
