#include "fixture.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "model/load.h"
#include "tensors.h"

namespace openelm {

// Every matrix of a layer is of `dtype`: kernels take q4 with any number of columns, although
// models keep some such matrices as q8.
static Weights load(Backend& backend, const Config& config, DType dtype,
                    const std::vector<TensorSource>& tensors) {
  backend.require(config);
  LoadProgress progress(0, nullptr);
  Weights weights = load_weights(backend, config, tensors, dtype, progress);
  const auto load = [&](const std::string& name, Matrix& matrix,
                        MatrixLayout layout = MatrixLayout::kPlain) {
    if (matrix.dtype == dtype) return;
    for (const TensorSource& tensor : tensors) {
      if (tensor.name == name) matrix = backend.load_matrix(tensor, dtype, layout, progress);
    }
  };
  for (Layer& layer : weights.layers) {
    const std::string prefix = layer_prefix(layer.index);
    load(prefix + "attn.qkv_proj.weight", layer.qkv_proj);
    load(prefix + "attn.out_proj.weight", layer.out_proj);
    load(prefix + "ffn.proj_1.weight", layer.proj_1,
         config.ffn_with_glu ? MatrixLayout::kGateUp : MatrixLayout::kPlain);
    load(prefix + "ffn.proj_2.weight", layer.proj_2);
  }
  return weights;
}

Model::Model(const TestBackend& test_backend, const Config& config, DType dtype,
             const std::vector<TensorSource>& tensors, int max_reference_rows)
    : config(config),
      tolerances(openelm::tolerances(test_backend.backend_class, dtype)),
      backend(test_backend.create(test_backend.kv_cache_dtype(dtype))),
      weights(load(*backend, config, dtype, tensors)),
      reference(config, tensors, dtype, test_backend.kv_cache_dtype(dtype) == DType::kFloat16,
                max_reference_rows) {
  backend->use(weights);
}

Session& Sessions::session(int index) {
  Session& session = sessions_[index];
  if (!session.cache) {
    session.cache = std::make_unique<KvCache>(model_.backend, model_.config, context_length_);
    session.reference = model_.reference.new_session();
    session.oracle = &model_.reference;
  }
  return session;
}

void Sessions::fork(int from, int to) {
  const Session& source = session(from);
  Session& copy = session(to);
  copy.cache->copy_from(*source.cache, source.position);
  copy.reference = source.reference;
  copy.position = source.position;
  copy.adapter = source.adapter;
  copy.oracle = source.oracle;
}

void Sessions::adapt(int index, const Adapter& adapter, const Reference& oracle) {
  session(index).adapter = &adapter;
  session(index).oracle = &oracle;
}

void Sessions::rewind(int index, int position) {
  session(index).position = position;
  session(index).reference.rewind(position);
}

void Sessions::add(Batch& batch, Session& session, int token) const {
  batch.tokens.push_back(token);
  batch.positions.push_back(session.position++);
  batch.caches.push_back(session.cache.get());
  batch.adapters.push_back(session.adapter);
}

static constexpr int kGuard = 64;  // elements behind a buffer that no op may touch

static Buffer upload(Backend& backend, std::vector<float> values) {
  values.resize(values.size() + kGuard, NAN);
  const size_t bytes = values.size() * sizeof(float);
  Buffer buffer = backend.allocate(bytes);
  backend.upload(values.data(), bytes, buffer);
  return buffer;
}

static Buffer upload(Backend& backend, const Rows& rows) {
  std::vector<float> values;
  for (const Row& row : rows) values.insert(values.end(), row.begin(), row.end());
  return upload(backend, std::move(values));
}

static Rows download(Backend& backend, const Buffer& buffer, int rows, int cols) {
  const size_t size = size_t(rows) * cols;
  std::vector<float> values(size + kGuard);
  backend.download(buffer, values.size() * sizeof(float), values.data());
  check(std::all_of(values.begin() + size, values.end(), [](float x) { return std::isnan(x); }),
        "an op wrote behind its output");
  Rows result;
  for (auto row = values.begin(); int(result.size()) < rows; row += cols) {
    result.emplace_back(row, row + cols);
  }
  return result;
}

void OpRun::batch(const std::vector<Segment>& segments) {
  const std::vector<int>& ids = model_.reference.token_embeddings.rows;
  batch_ = Batch();
  owners_.clear();
  is_adapted_ = false;
  for (const Segment& segment : segments) {
    for (int i = 0; i < segment.count; ++i) {
      owners_.push_back(&session(segment.session));
      add(batch_, *owners_.back(), ids[random_bits(seed_, owners_.size()) % ids.size()]);
      is_adapted_ |= owners_.back()->adapter != nullptr;
    }
  }
  ++seed_;
  embed();
  for (const Layer& layer : model_.weights.layers) layer_ops(layer);
  const int last = batch_.size() - 1;
  norm_logits({last});
  if (last == 0) return;
  std::vector<int> every_other;
  for (int t = last % 2; t <= last; t += 2) every_other.push_back(t);
  norm_logits(std::move(every_other));
}

Rows OpRun::random_rows(int cols, float std) {
  Rows rows;
  for (int row = 0; row < batch_.size(); ++row) {
    const std::vector<float> values = random_floats(seed_++, cols, std);
    rows.emplace_back(values.begin(), values.end());
  }
  return rows;
}

// Each op is a pass of its own, in which a backend finds all that it needs in memory.
void OpRun::compare(const std::string& op, const Inputs& inputs, int rows, int cols, double limit,
                    const ReferenceMatrix* known, const Run& run, const Want& want) {
  const Buffer in = upload(*model_.backend, inputs.in);
  const Buffer out = inputs.x.empty()
                         ? upload(*model_.backend, std::vector<float>(size_t(rows) * cols, NAN))
                         : upload(*model_.backend, inputs.x);
  model_.backend->begin(batch_, kNotCancelled);
  run(in, out);
  const Rows results = download(*model_.backend, out, rows, cols);
  for (int row = 0; row < rows; ++row) {
    Row got = results[row];
    if (known) {
      got.clear();
      for (int index : known->rows) got.push_back(results[row][index]);
    }
    const double error = relative_error(got, want(row));
    const double of_limit = error == 0 ? 0 : error / limit;
    OpError& worst = errors_[op];
    if (!(of_limit <= worst.of_limit) && !std::isnan(worst.of_limit)) worst = {error, of_limit};
  }
}

void OpRun::embed() {
  compare(
      "embed", {}, batch_.size(), model_.config.model_dim,
      is_adapted_ ? model_.tolerances.matvec : 0, nullptr,
      [&](const Buffer&, const Buffer& x) { model_.backend->embed(batch_, x); },
      [&](int t) { return owners_[t]->oracle->embed(batch_.tokens[t]); });
}

void OpRun::layer_ops(const Layer& layer) {
  Backend& backend = *model_.backend;
  const ReferenceLayer& known = model_.reference.layers[layer.index];
  const int tokens = batch_.size();
  const int d = model_.config.model_dim;
  const int q_dim = model_.config.q_dim(layer.index);
  const double limit = matrix_limit(tokens);

  const Rows x = random_rows(d, 3);
  Rows q_of_x;
  compare(
      "norm_qkv", {x, {}}, tokens, q_dim, limit, nullptr,
      [&](const Buffer& x, const Buffer& q) { backend.norm_qkv(layer, batch_, x, q); },
      [&](int t) {
        const Reference& oracle = *owners_[t]->oracle;
        return q_of_x.emplace_back(oracle.norm_qkv(layer.index, x[t], owners_[t]->reference));
      });

  const auto attended = [&](int t, const Row& q) {
    return owners_[t]->oracle->attention(layer.index, q, owners_[t]->reference,
                                         batch_.positions[t]);
  };
  const Rows q = random_rows(q_dim, 1.5f);
  compare(
      "attention", {q, {}}, tokens, q_dim, model_.tolerances.attention, nullptr,
      [&](const Buffer& q, const Buffer& a) { backend.attention(layer, batch_, q, a); },
      [&](int t) { return attended(t, q[t]); });

  // A backend may do both at once, and may read its buffers until the results are downloaded.
  const Buffer between = backend.allocate(size_t(tokens) * q_dim * sizeof(float));
  compare(
      "attention", {x, {}}, tokens, q_dim, 2 * (limit + model_.tolerances.attention), nullptr,
      [&](const Buffer& x, const Buffer& a) {
        backend.norm_qkv(layer, batch_, x, between);
        backend.attention(layer, batch_, between, a);
      },
      [&](int t) { return attended(t, q_of_x[t]); });

  const auto compare_add = [&](const char* op, int width, const ReferenceMatrix& matrix,
                               auto of_backend, auto of_oracle) {
    const Inputs from = {random_rows(width), random_rows(d)};
    compare(
        op, from, tokens, d, limit, &matrix,
        [&](const Buffer& in, const Buffer& x) { (backend.*of_backend)(layer, batch_, in, x); },
        [&](int t) {
          return (owners_[t]->oracle->*of_oracle)(layer.index, from.in[t], from.x[t]);
        });
  };
  compare_add("out_proj_add", q_dim, known.out_proj, &Backend::out_proj_add,
              &Reference::out_proj_add);

  const Rows x_mid = random_rows(d, 0.3f);
  compare(
      "norm_swiglu", {x_mid, {}}, tokens, layer.ffn_dim, 2 * limit, &known.up,
      [&](const Buffer& x, const Buffer& g) { backend.norm_swiglu(layer, batch_, x, g); },
      [&](int t) { return owners_[t]->oracle->norm_swiglu(layer.index, x_mid[t]); });

  compare_add("ffn_down_add", layer.ffn_dim, known.proj_2, &Backend::ffn_down_add,
              &Reference::ffn_down_add);
}

void OpRun::norm_logits(std::vector<int> logit_rows) {
  batch_.logit_rows = std::move(logit_rows);
  const int n = int(batch_.logit_rows.size());
  const Rows x = random_rows(model_.config.model_dim, 10);
  compare(
      "norm_logits", {x, {}}, n, model_.config.vocab_size, matrix_limit(n),
      &model_.reference.lm_head,
      [&](const Buffer& x, const Buffer& logits) {
        model_.backend->norm_logits(batch_, x, logits);
      },
      [&](int i) {
        const int t = batch_.logit_rows[i];
        return owners_[t]->oracle->norm_logits(x[t]);
      });
  batch_.logit_rows.clear();
}

ModelRun::ModelRun(const Model& model, int context_length) : Sessions(model, context_length) {
  renew_decoder();
}

void ModelRun::renew_decoder() {
  decoder_ = std::make_unique<Decoder>(*model_.backend, model_.weights, 512);
}

Output ModelRun::run(int index, const std::vector<int>& tokens, const std::vector<DrawArgs>& draws,
                     const std::atomic<bool>& cancelled) {
  const int position = session(index).position;
  Batch batch;
  batch.draws = draws;
  batch.next_draw = next_draw;
  for (int token : tokens) add(batch, session(index), token);
  batch.logit_rows = {batch.size() - 1};
  try {
    return decoder_->forward(batch, cancelled);
  } catch (...) {
    session(index).position = position;
    throw;
  }
}

Row ModelRun::expected(int index, const std::vector<int>& tokens) {
  Row logits;
  for (int token : tokens) logits = session(index).oracle->forward(token, session(index).reference);

  return logits;
}

void ModelRun::compare(int index, const std::vector<int>& tokens, const std::string& what) {
  const float* logits = append(index, tokens);
  const Row got(logits, logits + model_.config.vocab_size);
  check_at_most(relative_error(got, expected(index, tokens)), model_.tolerances.logits, what);
}

void ModelRun::compare_draw(int index, int token, const std::string& what) {
  const Output output = run(index, {token}, {DrawArgs{}});
  const Row want = expected(index, {token});
  const int drawn =
      output.tokens
          ? output.tokens[0]
          : int(std::max_element(output.logits, output.logits + want.size()) - output.logits);
  double squares = 0;
  for (double logit : want) squares += logit * logit;
  const double unsure = 2 * model_.tolerances.logits * std::sqrt(squares / double(want.size()));
  check(drawn >= 0 && want[drawn] >= *std::max_element(want.begin(), want.end()) - unsure, what);
}

std::vector<int> draw_tokens(const Model& model, const std::vector<std::vector<float>>& rows,
                             const std::vector<DrawArgs>& draws) {
  KvCache cache(model.backend, model.config, int(rows.size()));
  Batch batch;
  batch.draws = draws;
  std::vector<float> logits;
  for (size_t i = 0; i < rows.size(); ++i) {
    batch.tokens.push_back(0);
    batch.positions.push_back(int(i));
    batch.caches.push_back(&cache);
    batch.logit_rows.push_back(int(i));
    logits.insert(logits.end(), rows[i].begin(), rows[i].end());
  }
  const Buffer buffer = upload(*model.backend, std::move(logits));
  model.backend->begin(batch, kNotCancelled);
  const int32_t* const tokens = model.backend->end(batch, buffer).tokens;
  return tokens ? std::vector<int>(tokens, tokens + rows.size()) : std::vector<int>();
}

}  // namespace openelm
