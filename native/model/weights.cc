#include "weights.h"

namespace openelm {

size_t Weights::bytes() const {
  size_t total = token_embeddings.data.bytes + norm.bytes;
  if (!config.share_input_output_layers) total += lm_head.data.bytes;
  for (const Layer& layer : layers) {
    total += layer.attn_norm.bytes + layer.qkv_proj.data.bytes + layer.q_norm.bytes +
             layer.k_norm.bytes + layer.out_proj.data.bytes + layer.ffn_norm.bytes +
             layer.proj_1.data.bytes + layer.proj_2.data.bytes;
  }
  return total;
}

}  // namespace openelm
