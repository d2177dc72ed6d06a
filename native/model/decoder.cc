#include "decoder.h"

#include "../error.h"

namespace openelm {

Decoder::Decoder(Backend& backend, const Weights& weights, int max_tokens)
    : backend_(backend), weights_(weights) {
  const Config& config = weights.config;
  const auto activations = [&](int width) {
    return backend.allocate(size_t(max_tokens) * width * sizeof(float));
  };
  x_ = activations(config.model_dim);
  q_ = activations(config.max_q_dim());
  a_ = activations(config.max_q_dim());
  g_ = activations(config.max_ffn_dim());
  logits_ = activations(config.vocab_size);
  backend.use(weights);
}

static void check(const std::atomic<bool>& cancelled) {
  if (cancelled) throw Error(ErrorCode::kAborted, "the forward pass was aborted");
}

Output Decoder::forward(const Batch& batch, const std::atomic<bool>& cancelled) {
  backend_.begin(batch, cancelled);
  if (!backend_.replay(batch)) {
    backend_.embed(batch, x_);
    for (const Layer& layer : weights_.layers) {
      backend_.norm_qkv(layer, batch, x_, q_);
      backend_.attention(layer, batch, q_, a_);
      backend_.out_proj_add(layer, batch, a_, x_);
      backend_.norm_swiglu(layer, batch, x_, g_);
      backend_.ffn_down_add(layer, batch, g_, x_);
      backend_.end_layer(layer, batch);
      check(cancelled);
    }
    if (!batch.logit_rows.empty()) backend_.norm_logits(batch, x_, logits_);
  }
  const Output output = backend_.end(batch, logits_);
  check(cancelled);
  return output;
}

}  // namespace openelm
