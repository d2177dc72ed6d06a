#pragma once

#include <atomic>
#include <cmath>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "../../../native/model/kv_cache.h"
#include "check.h"
#include "environment.h"
#include "oracle.h"

namespace openelm::test {

// What the ops may differ from the oracle by, relative to the norm of the result. Decoding
// multiplies float32 by the very weights; matrix units take inputs of 16 bits; keys and values are
// cached in 16 bits where the weights are not float32.
struct Tolerances {
  double decode = 2e-6;
  double prefill;
  double attention;
};

inline Tolerances tolerances(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return {2e-6, 2e-6, 2e-6};
    case DType::kBFloat16:
      return {2e-6, 6e-3, 1e-3};
    default:
      return {2e-6, 1e-3, 1e-3};
  }
}

inline const char* name_of(DType dtype) {
  constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "q8", "q4"};
  return kNames[int(dtype)];
}

struct Session {
  std::unique_ptr<KvCache> cache;
  std::vector<HostCache> layers;
  int position = 0;
};

// A model, a backend and some sessions, to run ops one by one and compare them with the oracle.
class OpFixture {
 public:
  OpFixture(const Config& config, DType dtype, const std::string& name)
      : model_(config, dtype),
        backend_(create_test_backend(dtype)),
        weights_(model_.load(*backend_)),
        allowed_(tolerances(dtype)),
        name_(name + " " + name_of(dtype)) {
    backend_->use(weights_);
  }

  Session& new_session() {
    sessions_.push_back(
        {std::make_unique<KvCache>(backend_, model_.config, model_.config.max_context_length),
         std::vector<HostCache>(size_t(model_.config.num_layers)), 0});
    return sessions_.back();
  }

  struct Piece {
    Session* session;
    int tokens;
  };

  // Runs every op for a batch of new tokens of some sessions, and all layers.
  void check_ops(const std::vector<Piece>& pieces, const std::string& what) {
    const Config& config = model_.config;
    Batch batch;
    for (const Piece& piece : pieces) {
      for (int i = 0; i < piece.tokens; ++i) {
        batch.tokens.push_back((7 * batch.size() + 3) % config.vocab_size);
        batch.positions.push_back(piece.session->position + i);
        batch.caches.push_back(piece.session->cache.get());
      }
    }
    what_ = name_ + ", " + what;
    for (int layer = 0; layer < config.num_layers; ++layer) {
      check_attention(layer, batch, pieces);
      check_ffn(layer, batch);
    }
    check_ends(batch);
    for (const Piece& piece : pieces) piece.session->position += piece.tokens;
  }

 private:
  using Floats = std::vector<float>;

  Buffer upload(const Floats& values) {
    const size_t bytes = values.size() * sizeof(float);
    const Buffer buffer = backend_->allocate(bytes);
    backend_->upload(values.data(), bytes, buffer);
    return buffer;
  }

  Buffer poison(size_t count) { return upload(Floats(count, NAN)); }

  template <typename Run>
  void run(const Batch& batch, const Run& op) {
    static const std::atomic<bool> not_cancelled{false};
    backend_->begin(batch, not_cancelled);
    op();
  }

  void compare(const Buffer& actual, const Rows& expected, double tolerance, const char* op) {
    Row all;
    for (const Row& row : expected) all.insert(all.end(), row.begin(), row.end());
    Floats got(all.size());
    backend_->download(actual, got.size() * sizeof(float), got.data());
    expect_close(got.data(), all, tolerance, what_ + ", " + op);
  }

  double matrix_tolerance(const Batch& batch) const {
    return batch.size() == 1 ? allowed_.decode : allowed_.prefill;
  }

  Floats activations(const Batch& batch, int width) {
    return random_values(size_t(batch.size()) * size_t(width));
  }

  // Copies of the layers' keys and values come from norm_qkv alone: the backend's through its own
  // caches, the oracle's through its own.
  void check_attention(int layer, const Batch& batch, const std::vector<Piece>& pieces) {
    const Config& config = model_.config;
    const size_t d = size_t(config.model_dim);
    const size_t q_dim = size_t(config.q_dim(layer));
    const Floats x = activations(batch, config.model_dim);
    const Floats q = activations(batch, config.q_dim(layer));
    Rows expected_q, expected_a;
    size_t t = 0;
    for (const Piece& piece : pieces) {
      HostCache& cache = piece.session->layers[size_t(layer)];
      for (int i = 0; i < piece.tokens; ++i, ++t) {
        expected_q.push_back(norm_qkv(model_, layer, to_row(x, t * d, d), cache));
        Row scaled = to_row(q, t * q_dim, q_dim);
        for (double& value : scaled) value *= 2;
        expected_a.push_back(attention(model_, layer, scaled, cache, piece.session->position + i));
      }
    }
    Floats doubled = q;
    for (float& value : doubled) value *= 2;

    const Layer& weights = weights_.layers[size_t(layer)];
    const Buffer x_buffer = upload(x);
    const Buffer q_result = poison(q.size());
    run(batch, [&] { backend_->norm_qkv(weights, batch, x_buffer, q_result); });
    compare(q_result, expected_q, matrix_tolerance(batch), "norm_qkv");

    const Buffer q_buffer = upload(doubled);
    const Buffer a_result = poison(q.size());
    run(batch, [&] { backend_->attention(weights, batch, q_buffer, a_result); });
    compare(a_result, expected_a, std::max(allowed_.attention, allowed_.prefill), "attention");
  }

  template <typename Op>
  void check_add(const Batch& batch, const HostMatrix& matrix, const char* name, const Op& op) {
    const Floats in = activations(batch, matrix.cols);
    const Floats x = activations(batch, matrix.rows);
    Rows expected;
    for (size_t t = 0; t < size_t(batch.size()); ++t) {
      const Row product =
          multiply(matrix, to_row(in, t * size_t(matrix.cols), size_t(matrix.cols)));
      expected.push_back(add(to_row(x, t * size_t(matrix.rows), size_t(matrix.rows)), product));
    }
    const Buffer in_buffer = upload(in);
    const Buffer x_buffer = upload(x);
    run(batch, [&] { op(in_buffer, x_buffer); });
    compare(x_buffer, expected, matrix_tolerance(batch), name);
  }

  void check_ffn(int layer, const Batch& batch) {
    const Config& config = model_.config;
    const Layer& weights = weights_.layers[size_t(layer)];
    const HostLayer& host = model_.layers[size_t(layer)];
    check_add(batch, host.out_proj, "out_proj_add", [&](const Buffer& a, const Buffer& x) {
      backend_->out_proj_add(weights, batch, a, x);
    });
    check_add(batch, host.proj_2, "ffn_down_add", [&](const Buffer& g, const Buffer& x) {
      backend_->ffn_down_add(weights, batch, g, x);
    });

    const size_t d = size_t(config.model_dim);
    const Floats x = activations(batch, config.model_dim);
    Rows expected;
    for (size_t t = 0; t < size_t(batch.size()); ++t) {
      expected.push_back(norm_swiglu(model_, layer, to_row(x, t * d, d)));
    }
    const Buffer x_buffer = upload(x);
    const Buffer g = poison(size_t(batch.size()) * size_t(config.ffn_dims[size_t(layer)]));
    run(batch, [&] { backend_->norm_swiglu(weights, batch, x_buffer, g); });
    compare(g, expected, matrix_tolerance(batch), "norm_swiglu");
  }

  // The first op and the last.
  void check_ends(const Batch& batch) {
    const Config& config = model_.config;
    const size_t d = size_t(config.model_dim);
    Rows embedded;
    for (int token : batch.tokens) embedded.push_back(embed(model_, token));
    const Buffer x = poison(size_t(batch.size()) * d);
    run(batch, [&] { backend_->embed(batch, x); });
    compare(x, embedded, 1e-7, "embed");

    // The last token alone, then every other one: a batch of one token is a graph of its own.
    for (int step = 1; step <= 2 && batch.size() > 1; ++step) {
      Batch asked = batch;
      for (int t = step == 1 ? batch.size() - 1 : 0; t < batch.size(); t += step) {
        asked.logit_rows.push_back(t);
      }
      const Floats in = activations(batch, config.model_dim);
      Rows expected;
      for (int t : asked.logit_rows) {
        expected.push_back(norm_logits(model_, to_row(in, size_t(t) * d, d)));
      }
      const Buffer in_buffer = upload(in);
      const Buffer logits = poison(expected.size() * size_t(config.vocab_size));
      run(asked, [&] { backend_->norm_logits(asked, in_buffer, logits); });
      compare(logits, expected, expected.size() == 1 ? allowed_.decode : allowed_.prefill,
              "norm_logits");
    }
  }

  const RandomModel model_;
  const std::shared_ptr<Backend> backend_;
  const Weights weights_;
  const Tolerances allowed_;
  const std::string name_;
  std::string what_;
  std::list<Session> sessions_;
};

}  // namespace openelm::test
