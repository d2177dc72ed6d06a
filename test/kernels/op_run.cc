#include "op_run.h"

#include <cmath>

#include "check.h"
#include "tensors.h"

namespace openelm {

Session& OpRun::session(int index) {
  Session& session = sessions_[index];
  if (!session.cache) {
    session.cache = std::make_shared<KvCache>(backend_, config_, kContextLength);
    session.keys.resize(config_.num_layers);
    session.values.resize(config_.num_layers);
    owners_[session.cache.get()] = &session;
  }
  return session;
}

void OpRun::fork(int from, int to) {
  Session& source = session(from);
  Session& copy = session(to);
  copy.cache->position = source.cache->position.load();
  copy.cache->copy_from(*source.cache, copy.cache->position);
  copy.keys = source.keys;
  copy.values = source.values;
}

void OpRun::rewind(int index, int position) {
  session(index).cache->position = position;
  for (Rows& keys : session(index).keys) keys.resize(position);
  for (Rows& values : session(index).values) values.resize(position);
}

Batch OpRun::make_batch(const std::vector<Segment>& segments) {
  Batch batch;
  for (const Segment& segment : segments) {
    KvCache* cache = session(segment.session).cache.get();
    for (int i = 0; i < segment.count; ++i) {
      const std::vector<int>& ids = reference_.token_embeddings.rows;
      if (i % 2 == 0 || i == segment.count - 1) batch.logit_rows.push_back(batch.size());
      batch.tokens.push_back(ids[random_bits(seed_, batch.tokens.size()) % ids.size()]);
      batch.positions.push_back(cache->position + i);
      batch.caches.push_back(cache);
    }
    cache->position += segment.count;
  }
  ++seed_;
  return batch;
}

void OpRun::batch(const std::vector<Segment>& segments) {
  const Batch batch = make_batch(segments);
  static const std::atomic<bool> not_cancelled{false};
  backend_->begin(batch, not_cancelled);
  embed(batch);
  for (const Layer& layer : weights_.layers) {
    norm_qkv(layer, batch);
    attention(layer, batch);
    out_proj_add(layer, batch);
    norm_swiglu(layer, batch);
    ffn_down_add(layer, batch);
  }
  norm_logits(batch);
}

Buffer OpRun::upload(std::vector<float> values) {
  values.resize(values.size() + kGuard, NAN);
  const size_t bytes = values.size() * sizeof(float);
  const Buffer buffer = backend_->allocate(bytes);
  backend_->upload(values.data(), bytes, buffer);
  return buffer;
}

Buffer OpRun::upload(const Rows& rows) {
  std::vector<float> values;
  for (const Row& row : rows) values.insert(values.end(), row.begin(), row.end());
  return upload(std::move(values));
}

Rows OpRun::download(const Buffer& buffer, int rows, int cols) {
  const size_t size = size_t(rows) * cols;
  std::vector<float> all(size + kGuard);
  backend_->download(buffer, all.size() * sizeof(float), all.data());
  const float* values = all.data();
  for (int i = 0; i < kGuard; ++i) {
    check(std::isnan(values[size + i]), "an op wrote behind its output");
  }
  Rows result;
  for (int row = 0; row < rows; ++row) {
    result.emplace_back(values + size_t(row) * cols, values + size_t(row + 1) * cols);
  }
  return result;
}

Rows OpRun::random_rows(int rows, int cols, float std) {
  Rows result;
  for (int row = 0; row < rows; ++row) {
    const std::vector<float> values = random_floats(seed_++, cols, std);
    result.emplace_back(values.begin(), values.end());
  }
  return result;
}

void OpRun::compare(const std::string& op, const Row& got, const Row& want) {
  const double error = relative_error(got, want);
  double& worst = errors[op];
  if (!(error <= worst)) worst = error;
}

void OpRun::compare_rows(const std::string& op, const Row& got, const std::vector<int>& rows,
                         const Row& want) {
  Row chosen;
  for (int row : rows) chosen.push_back(got[row]);
  compare(op, chosen, want);
}

// The only op that computes nothing.
void OpRun::embed(const Batch& batch) {
  const ReferenceMatrix& embeddings = reference_.token_embeddings;
  const Buffer x = make_output(batch.size(), config_.model_dim);
  backend_->embed(batch, x);
  const Rows got = download(x, batch.size(), config_.model_dim);
  for (int t = 0; t < batch.size(); ++t) {
    size_t i = 0;
    while (embeddings.rows[i] != batch.tokens[t]) ++i;
    compare("embed", got[t], embeddings.values[i]);
  }
}

void OpRun::norm_qkv(const Layer& layer, const Batch& batch) {
  const ReferenceLayer& reference = reference_.layers[layer.index];
  const int h = config_.head_dim;
  const int first_value = layer.num_query_heads + layer.num_kv_heads;
  const Rows x = random_rows(batch.size(), config_.model_dim, 3);
  const Buffer input = upload(x);
  const Buffer q = make_output(batch.size(), config_.q_dim(layer.index));
  backend_->norm_qkv(layer, batch, input, q);
  const Rows got = download(q, batch.size(), config_.q_dim(layer.index));

  for (int t = 0; t < batch.size(); ++t) {
    const Row normed = rms_norm(x[t], reference.attn_norm, config_.rms_norm_eps);
    const Row qkv = reference.qkv_proj.multiply(normed);
    Row queries, keys, values;
    for (int head = 0; head < first_value + layer.num_kv_heads; ++head) {
      const bool is_query = head < layer.num_query_heads;
      Row row(qkv.begin() + head * h, qkv.begin() + (head + 1) * h);
      if (head < first_value) {
        if (config_.normalize_qk_projections) {
          row = rms_norm(row, is_query ? reference.q_norm : reference.k_norm, config_.rms_norm_eps);
        }
        row = rope(row, batch.positions[t], config_.rope_freq_constant);
      }
      Row& to = is_query ? queries : head < first_value ? keys : values;
      to.insert(to.end(), row.begin(), row.end());
    }
    compare("norm_qkv", got[t], queries);
    owners_.at(batch.caches[t])->keys[layer.index].push_back(std::move(keys));
    owners_.at(batch.caches[t])->values[layer.index].push_back(std::move(values));
  }
}

void OpRun::attention(const Layer& layer, const Batch& batch) {
  const int h = config_.head_dim;
  const int group = layer.num_query_heads / layer.num_kv_heads;
  const int q_dim = config_.q_dim(layer.index);
  const Rows q = random_rows(batch.size(), q_dim, 1.5f);
  const Buffer input = upload(q);
  const Buffer a = make_output(batch.size(), q_dim);
  backend_->attention(layer, batch, input, a);
  const Rows got = download(a, batch.size(), q_dim);

  for (int t = 0; t < batch.size(); ++t) {
    const Session& session = *owners_.at(batch.caches[t]);
    Row want;
    for (int head = 0; head < layer.num_query_heads; ++head) {
      const auto head_of = [&](const Row& row, int index) {
        return Row(row.begin() + index * h, row.begin() + (index + 1) * h);
      };
      Rows keys, values;
      for (int p = 0; p <= batch.positions[t]; ++p) {
        keys.push_back(head_of(session.keys[layer.index][p], head / group));
        values.push_back(head_of(session.values[layer.index][p], head / group));
      }
      Row query = head_of(q[t], head);
      for (double& value : query) value /= std::sqrt(double(h));
      const Row row = openelm::attention(query, keys, values);
      want.insert(want.end(), row.begin(), row.end());
    }
    compare("attention", got[t], want);
  }
}

void OpRun::out_proj_add(const Layer& layer, const Batch& batch) {
  const ReferenceMatrix& out_proj = reference_.layers[layer.index].out_proj;
  const Rows a = random_rows(batch.size(), config_.q_dim(layer.index));
  const Rows x = random_rows(batch.size(), config_.model_dim);
  const Buffer input = upload(a);
  const Buffer sum = upload(x);
  backend_->out_proj_add(layer, batch, input, sum);
  const Rows got = download(sum, batch.size(), config_.model_dim);
  for (int t = 0; t < batch.size(); ++t) {
    Row want = out_proj.multiply(a[t]);
    for (size_t i = 0; i < want.size(); ++i) want[i] += x[t][out_proj.rows[i]];
    compare_rows("out_proj_add", got[t], out_proj.rows, want);
  }
}

void OpRun::norm_swiglu(const Layer& layer, const Batch& batch) {
  const ReferenceLayer& reference = reference_.layers[layer.index];
  const Rows x = random_rows(batch.size(), config_.model_dim, 0.3f);
  const Buffer input = upload(x);
  const Buffer g = make_output(batch.size(), layer.ffn_dim);
  backend_->norm_swiglu(layer, batch, input, g);
  const Rows got = download(g, batch.size(), layer.ffn_dim);
  for (int t = 0; t < batch.size(); ++t) {
    const Row normed = rms_norm(x[t], reference.ffn_norm, config_.rms_norm_eps);
    Row want = reference.up.multiply(normed);
    const Row gate = reference.gate.multiply(normed);
    for (size_t i = 0; i < want.size(); ++i) {
      want[i] = config_.ffn_with_glu ? silu(gate[i]) * want[i] : silu(want[i]);
    }
    compare_rows("norm_swiglu", got[t], reference.up.rows, want);
  }
}

void OpRun::ffn_down_add(const Layer& layer, const Batch& batch) {
  const ReferenceMatrix& proj_2 = reference_.layers[layer.index].proj_2;
  const Rows g = random_rows(batch.size(), layer.ffn_dim);
  const Rows x = random_rows(batch.size(), config_.model_dim);
  const Buffer input = upload(g);
  const Buffer sum = upload(x);
  backend_->ffn_down_add(layer, batch, input, sum);
  const Rows got = download(sum, batch.size(), config_.model_dim);
  for (int t = 0; t < batch.size(); ++t) {
    Row want = proj_2.multiply(g[t]);
    for (size_t i = 0; i < want.size(); ++i) want[i] += x[t][proj_2.rows[i]];
    compare_rows("ffn_down_add", got[t], proj_2.rows, want);
  }
}

void OpRun::norm_logits(const Batch& batch) {
  const int rows = int(batch.logit_rows.size());
  const Rows x = random_rows(batch.size(), config_.model_dim, 10);
  const Buffer input = upload(x);
  const Buffer logits = make_output(rows, config_.vocab_size);
  backend_->norm_logits(batch, input, logits);
  const Rows got = download(logits, rows, config_.vocab_size);
  for (int i = 0; i < rows; ++i) {
    const Row normed = rms_norm(x[batch.logit_rows[i]], reference_.norm, config_.rms_norm_eps);
    compare_rows("norm_logits", got[i], reference_.lm_head.rows,
                 reference_.lm_head.multiply(normed));
  }
}

}  // namespace openelm
