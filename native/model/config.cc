#include "config.h"

#include <algorithm>

namespace openelm {

template <typename Dim>
static int largest(int num_layers, const Dim& dim) {
  int widest = 0;
  for (int layer = 0; layer < num_layers; ++layer) widest = std::max(widest, dim(layer));
  return widest;
}

int Config::max_q_dim() const {
  return largest(num_layers, [this](int layer) { return q_dim(layer); });
}

int Config::max_qkv_dim() const {
  return largest(num_layers, [this](int layer) { return qkv_dim(layer); });
}

int Config::max_ffn_dim() const {
  return largest(num_layers, [this](int layer) { return ffn_dims[layer]; });
}

}  // namespace openelm
