#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "../../../native/model/decoder.h"
#include "op_fixture.h"

namespace openelm::test {

inline const std::atomic<bool> kNotCancelled{false};

inline Config small_config() {
  Config config;
  config.num_layers = 3;
  config.model_dim = 256;
  config.head_dim = 64;
  config.vocab_size = 512;
  config.max_context_length = 512;
  config.num_query_heads = {4, 8, 8};
  config.num_kv_heads = {1, 2, 2};
  config.ffn_dims = {256, 512, 768};
  return config;
}

// A loaded model with sessions, each mirrored by the oracle.
struct Model {
  explicit Model(const Config& config, DType dtype)
      : host(config, dtype), backend(create_test_backend(dtype)), weights(host.load(*backend)) {
    decoder = std::make_unique<Decoder>(*backend, weights, 64);
  }

  Session new_session() {
    return {std::make_unique<KvCache>(backend, host.config, host.config.max_context_length),
            std::vector<HostCache>(size_t(host.config.num_layers)), 0};
  }

  // Appends tokens and returns the logits of the last.
  const float* append(Session& session, const std::vector<int>& tokens,
                      const std::atomic<bool>& cancelled = kNotCancelled) {
    return run(session, tokens, {}, cancelled).logits;
  }

  // Appends a token and checks that the likeliest next one is drawn on the device.
  void check_draw(Session& session, int token, const std::string& what) {
    const Output output = run(session, {token}, {DrawArgs{}}, kNotCancelled);
    const Row logits = expected(session, {token});
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    expect(!output.logits && output.tokens && output.tokens[0] == best, what);
  }

  Output run(Session& session, const std::vector<int>& tokens, const std::vector<DrawArgs>& draws,
             const std::atomic<bool>& cancelled) {
    Batch batch;
    batch.draws = draws;
    for (int token : tokens) {
      batch.tokens.push_back(token);
      batch.positions.push_back(session.position + batch.size() - 1);
      batch.caches.push_back(session.cache.get());
    }
    batch.logit_rows = {batch.size() - 1};
    const Output output = decoder->forward(batch, cancelled);
    session.position += batch.size();
    return output;
  }

  Row expected(Session& session, const std::vector<int>& tokens) const {
    Row logits;
    for (int token : tokens) logits = forward(host, token, session.layers);
    return logits;
  }

  void check(Session& session, const std::vector<int>& tokens, double tolerance,
             const std::string& what) {
    const float* logits = append(session, tokens);
    expect_close(logits, expected(session, tokens), tolerance, what);
  }

  const RandomModel host;
  const std::shared_ptr<Backend> backend;
  const Weights weights;
  std::unique_ptr<Decoder> decoder;
};

inline std::vector<int> some_tokens(int count) {
  std::vector<int> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 37 + 11) % 512);
  return tokens;
}

}  // namespace openelm::test
