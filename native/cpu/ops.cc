// The ops that are a product and a line: see cpu_backend.h.

#include <cstring>

#include "../half.h"
#include "cpu_backend.h"

namespace openelm::cpu {

// Column c of a row of a packed panel: kernels.h says where it is.
static float packed_element(const uint8_t* panel, int row, int c, DType dtype) {
  const auto half = [](const uint8_t* from, size_t index) {
    uint16_t value;
    std::memcpy(&value, from + 2 * index, sizeof value);
    return value;
  };
  const auto in_pairs = [row](int i) { return size_t(i / 2) * 2 * kPanelRows + 2 * row + i % 2; };
  const size_t in_columns = size_t(c) * kPanelRows + row;
  if (dtype == DType::kFloat32) return reinterpret_cast<const float*>(panel)[in_columns];
  if (dtype == DType::kFloat16) return f16_to_float(half(panel, in_columns));
  if (dtype == DType::kBFloat16) return bf16_to_float(half(panel, in_pairs(c)));

  const uint8_t* group = panel + size_t(c / kGroupSize) * packed_group_bytes(dtype);
  const uint8_t* weights = group + kScaleBytes;
  const float scale = f16_to_float(half(group, row));
  const int i = c % kGroupSize;
  if (dtype == DType::kQ8) return float(int8_t(weights[in_pairs(i)])) * scale;
  const int quad = weights[i / 8 * 4 * kPanelRows + 2 * (2 * row + i % 2) + i % 8 / 4];
  return float(((quad >> (i / 2 % 2 * 4)) & 15) - 8) * scale;
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
}

// to += matrix * from
void CpuBackend::product_add(const Matrix& matrix, int num_tokens, const Buffer& from,
                             const Buffer& to) {
  const Input input = matmul_.prepare(matrix, {from.as<float>(), num_tokens});
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
  product_add(layer.out_proj, batch.size(), a, x);
}

void CpuBackend::norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                             const Buffer& g) {
  const Config& config = weights_->config;
  const int tokens = batch.size();
  const int f = layer.ffn_dim;
  const bool glu = config.ffn_with_glu;
  const Input input = matmul_.prepare(
      layer.proj_1, {x.as<float>(), tokens, layer.ffn_norm.as<float>(), config.rms_norm_eps});
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
  product_add(layer.proj_2, batch.size(), g, x);
}

void CpuBackend::norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) {
  const Matrix& head = weights_->lm_head;
  const int rows = int(batch.logit_rows.size());
  const Input input =
      matmul_.prepare(head, {x.as<float>(), rows, weights_->norm.as<float>(),
                             weights_->config.rms_norm_eps, batch.logit_rows.data()});
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

}  // namespace openelm::cpu
