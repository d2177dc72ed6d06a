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
}

Decoder::Output Decoder::forward(const Batch& batch, const std::atomic<bool>& cancelled) {
  float* x = x_.as<float>();
  float* q = q_.as<float>();
  float* a = a_.as<float>();
  float* g = g_.as<float>();
  float* logits = logits_.as<float>();

  backend_.begin(batch);
  backend_.embed(batch, x);
  for (const Layer& layer : weights_.layers) {
    backend_.norm_qkv(layer, batch, x, q);
    backend_.attention(layer, batch, q, a);
    backend_.out_proj_add(layer, batch, a, x);
    backend_.norm_swiglu(layer, batch, x, g);
    backend_.ffn_down_add(layer, batch, g, x);
    if (cancelled) throw Error(ErrorCode::kAborted, "the forward pass was aborted");
  }
  Output output;
  if (batch.logit_rows.empty()) return output;
  backend_.norm_logits(batch, x, logits);
  if (!batch.draws.empty()) output.tokens = backend_.sample(batch, logits);
  if (!output.tokens) {
    const size_t count = batch.logit_rows.size() * weights_.config.vocab_size;
    output.logits = backend_.read_logits(logits, count);
  }
  if (cancelled) throw Error(ErrorCode::kAborted, "the forward pass was aborted");
  return output;
}

}  // namespace openelm
