#include "config.h"

#include <algorithm>

namespace openelm {

int Config::max_q_dim() const {
  return *std::max_element(num_query_heads.begin(), num_query_heads.end()) * head_dim;
}

int Config::max_qkv_dim() const {
  int widest = 0;
  for (int layer = 0; layer < num_layers; ++layer) widest = std::max(widest, qkv_dim(layer));
  return widest;
}

int Config::max_ffn_dim() const { return *std::max_element(ffn_dims.begin(), ffn_dims.end()); }

}  // namespace openelm
