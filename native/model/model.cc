#include "model.h"

#include <cstdint>
#include <string>

#include "../error.h"

namespace openelm {

static void expect(bool holds, const char* what) {
  if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("expected ") + what);
}

void check(const Config& config) {
  constexpr int64_t kMaxWidth = 1 << 24;  // of any row of activations
  const auto in_range = [](int64_t value, int64_t max) { return value >= 1 && value <= max; };
  const auto layers = size_t(config.num_layers);
  expect(config.num_layers >= 1 && config.num_query_heads.size() == layers &&
             config.num_kv_heads.size() == layers && config.ffn_dims.size() == layers,
         "head counts and an FFN width for each layer");
  expect(in_range(config.model_dim, kMaxWidth), "a model's width");
  expect(in_range(config.head_dim, kMaxWidth) && config.head_dim % 2 == 0, "an even head width");
  expect(in_range(config.vocab_size, kMaxVocabSize), "a vocabulary's size");
  for (size_t layer = 0; layer < layers; ++layer) {
    const int64_t query_heads = config.num_query_heads[layer];
    const int64_t kv_heads = config.num_kv_heads[layer];
    expect(in_range(kv_heads, query_heads) && query_heads % kv_heads == 0,
           "query heads in groups for each key head");
    expect((query_heads + 2 * kv_heads) * config.head_dim <= kMaxWidth, "narrower heads");
    expect(in_range(config.ffn_dims[layer], kMaxWidth / 2), "an FFN's width");
  }
}

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
