#include "trainer.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "../error.h"
#include "gradient_tree.h"
#include "head_rows.h"
#include "trained_model.h"

namespace openelm::train {

namespace {

// Rows whose logits are in memory at a time: V is by far the widest of all widths.
constexpr int kHeadRows = 512;

template <typename T>
class TrainerOf final : public Trainer {
 public:
  explicit TrainerOf(const TrainerOptions& options)
      : config_(options.config),
        dropout_probability_(options.adapter.dropout),
        recompute_(options.recompute),
        eps_(T(config_.rms_norm_eps)),
        model_(config_, options.adapter, options.frozen_dtype),
        parameters_(model_.parameters()),
        rope_(0, config_.head_dim, config_.rope_freq_constant),
        workers_(options.threads, cancelled_),
        activations_(config_, model_.adapters(), options.max_tokens,
                     std::min(kHeadRows, options.max_tokens), recompute_) {}

  size_t size(Array array) const override { return model_.size(array); }
  size_t element_bytes() const override { return sizeof(T); }
  void* data(Array array) override {
    norms_are_stale_ = true;
    if (array == Array::kFrozen) model_.forget_frozen_norms();
    return model_.data(array);
  }

  void load(const std::vector<TensorSource>& tensors) override {
    check_tensors(tensors);
    norms_are_stale_ = true;
    model_.load(workers_.pool, tensors);
    check_cancelled();
  }

  std::vector<LossSums> evaluate(const TrainingBatch& batch, bool adapted) override {
    begin(batch, adapted, {});
    forward();
    std::vector<LossSums> sums(sequences_.count());
    for_head_rows([&](const HeadRows& rows) {
      cross_entropy(workers_, logits(rows), rows.targets(), rows.count(), config_.vocab_size,
                    losses_.data());
      add_losses(rows, sums);
    });
    check_cancelled();
    return sums;
  }

  std::vector<LossSums> accumulate(const TrainingBatch& batch,
                                   const GradientOptions& options) override {
    begin(batch, true,
          {dropout_probability_, options.seed, options.step, options.first_example, &sequences_});
    forward();
    return backward_with_losses(options);
  }

  void backward(const GradientOptions& options) override { backward_with_losses(options); }

  void next_leaf() override {
    check_cancelled();
    tree_.next_leaf(workers_.pool, model_.gradients(), model_.size(Array::kGradients));
  }

  void reset_magnitudes() override {
    model_.reset_magnitudes(workers_);
    norms_are_stale_ = true;
  }

  double step(const AdamWOptions& options) override {
    check_cancelled();
    finish_gradients();
    return adamw<T>(workers_, model_.trained(), options, model_.state());
  }

  double step(mpi::Peers& peers, const AdamWOptions& options) override {
    finish_gradients();
    if (!sharded_step_) sharded_step_.emplace(peers, model_.trained());
    return sharded_step_->step(workers_, options, model_.state());
  }

  void share(mpi::Peers& peers, bool with_frozen) override {
    norms_are_stale_ = true;
    peers.broadcast(model_.data(Array::kWeights), size(Array::kWeights) * sizeof(T))->wait();
    if (!with_frozen) return;
    for (const auto& [data, bytes] : model_.frozen_pieces()) peers.broadcast(data, bytes)->wait();
    model_.forget_frozen_norms();
  }

  Shard shard(int rank, int ranks) const override {
    return shard_of(model_.trained().size(), rank, ranks);
  }

 private:
  const T* norm(size_t offset) const { return model_.norm(offset); }
  T* gradient(size_t offset) const { return model_.gradient(offset); }

  HeadShape heads(int layer) const {
    return {config_.num_query_heads[layer], config_.num_kv_heads[layer], config_.head_dim};
  }
  // Of q_norm or k_norm: null when the model has none.
  const T* qk_norm(size_t offset) const {
    return config_.normalize_qk_projections ? norm(offset) : nullptr;
  }
  T* dqk_norm(size_t offset) const {
    return config_.normalize_qk_projections ? gradient(offset) : nullptr;
  }

  // Sums up the leaves, for a step of the weights.
  void finish_gradients() {
    norms_are_stale_ = true;
    tree_.finish(workers_.pool, model_.gradients(), model_.size(Array::kGradients));
  }

  void begin(const TrainingBatch& batch, bool adapted, const Dropout& dropout) {
    sequences_ = Sequences(batch.lengths);
    tokens_ = batch.tokens;
    targets_ = batch.targets;
    adapted_ = adapted && model_.adapted();
    dropout_ = dropout;
    losses_.resize(kHeadRows);
    if (adapted_ && norms_are_stale_) model_.update_norms(workers_);
    norms_are_stale_ = norms_are_stale_ && !adapted_;
  }

  void forward() {
    const int d = config_.model_dim;
    rope_.extend(sequences_.longest());
    embed<T>(workers_, tokens_.data(), model_.matrix(parameters_.token_embeddings), rows(), d,
             activations_.x[0]);
    with_embedding_adapter([&](const LoraTensors<T>& lora) {
      lora_embed_add<T>(workers_, lora, tokens_.data(), rows(), d, activations_.x[0]);
    });
    for (int layer = 0; layer < config_.num_layers; ++layer) layer_forward(layer);
  }

  std::vector<LossSums> backward_with_losses(const GradientOptions& options) {
    const std::vector<LossSums> sums = head_backward(options);
    const int lowest = model_.adapters().lowest_layer();
    for (int layer = config_.num_layers - 1; layer >= std::max(lowest, 0); --layer) {
      layer_backward(layer, layer > lowest);
    }
    if (!model_.adapted()) {
      embed_backward<T>(workers_, tokens_.data(), activations_.dx, rows(), config_.model_dim,
                        gradient(parameters_.token_embeddings));
    }
    with_embedding_adapter([&](const LoraTensors<T>& lora) {
      lora_embed_backward<T>(workers_, lora, tokens_.data(), activations_.dx, sequences_.blocks(),
                             config_.model_dim, lora_scratch());
    });
    check_cancelled();
    return sums;
  }

  void layer_forward(int layer);
  // activations_.dx comes as the gradient by the layer's output and leaves as the one by its input,
  // if that is needed.
  void layer_backward(int layer, bool needs_dx);

  void linear_forward(int layer, Module module, const T* x, T* y) {
    with_linear(layer, module, [&](const LinearTensors<T>& linear) {
      adapted_linear<T>(workers_, linear, x, rows(), dropout_, lora_scratch(), y);
    });
  }
  void linear_backward(int layer, Module module, const T* x, const T* dy, T* dx) {
    with_linear(layer, module, [&](const LinearTensors<T>& linear) {
      adapted_linear_backward<T>(workers_, linear, x, dy, sequences_.blocks(), dropout_,
                                 lora_scratch(), dx);
    });
  }

  // body(tensors), with those of the matrix's adapter if it has one that is in use.
  template <typename Body>
  void with_linear(int layer, Module module, const Body& body) {
    LinearTensors<T> linear = model_.linear(layer, module);
    const int target = adapted_ ? model_.adapters().find(layer, module) : -1;
    LoraTensors<T> lora;
    if (target >= 0) {
      lora = lora_tensors(target);
      linear.lora = &lora;
    }
    body(linear);
  }
  template <typename Body>
  void with_embedding_adapter(const Body& body) {
    const int target = adapted_ ? model_.adapters().find(-1, Module::kEmbedding) : -1;
    if (target >= 0) body(lora_tensors(target));
  }
  LoraTensors<T> lora_tensors(int target) {
    LoraTensors<T> lora = model_.lora(target);
    const int kept = recompute_ ? int(model_.adapters().targets[target].module) : target;
    lora.u = activations_.adapters[kept].u;
    lora.v = activations_.adapters[kept].v;
    return lora;
  }
  LoraScratch<T> lora_scratch() const {
    return {activations_.dropped, activations_.ddropped, activations_.dv, activations_.du};
  }

  // The logits of rows that have targets; leaves their final norm in activations_.normed.
  T* logits(const HeadRows& rows);
  std::vector<LossSums> head_backward(const GradientOptions& options);

  template <typename Body>
  void for_head_rows(const Body& body) {
    for (const HeadRows& rows : head_rows(sequences_, targets_, kHeadRows)) {
      check_cancelled();
      body(rows);
    }
  }
  void add_losses(const HeadRows& rows, std::vector<LossSums>& sums) const {
    for (int i = 0; i < rows.count(); ++i) {
      LossSums& sum = sums[sequences_.sequence(rows.row(i))];
      sum.cross_entropy += losses_[i].cross_entropy;
      sum.squared_lse += losses_[i].lse * losses_[i].lse;
    }
  }

  int rows() const { return sequences_.rows(); }

  void check_tensors(const std::vector<TensorSource>& tensors) const {
    bool fits = tensors.size() == parameters_.tensors.size();
    for (size_t i = 0; fits && i < tensors.size(); ++i) {
      const MatrixShape shape = parameters_.tensors[i].shape;
      fits = tensors[i].rows == shape.rows && tensors[i].cols == shape.cols;
    }
    if (!fits) throw Error(ErrorCode::kInvalidArgument, "expected the tensors of the model");
  }
  void check_cancelled() const {
    if (cancelled_) throw Error(ErrorCode::kAborted, "the training step was cancelled");
  }

  const Config config_;
  const double dropout_probability_;
  const bool recompute_;
  const T eps_;
  TrainedModel<T> model_;
  const Parameters& parameters_;
  RopeTable<T> rope_;
  Workers<T> workers_;
  Activations<T> activations_;
  GradientTree<T> tree_;
  std::optional<ShardedStep<T>> sharded_step_;
  bool norms_are_stale_ = true;

  // Of the batch under way, or of the one evaluated last.
  Sequences sequences_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> targets_;
  bool adapted_ = false;
  Dropout dropout_;
  std::vector<TokenLoss> losses_;  // [kHeadRows]
};

template <typename T>
void TrainerOf<T>::layer_forward(int layer) {
  check_cancelled();
  const Parameters::Layer& at = parameters_.layers[layer];
  LayerActivations<T>& kept = activations_.layer(layer);
  const HeadShape shape = heads(layer);
  const int d = config_.model_dim;
  const T* x = activations_.x[layer];
  T* x_mid = kept.x_mid;
  T* x_out = activations_.x[layer + 1];
  T* normed = activations_.normed;
  T* branch = activations_.branch;
  T* g = activations_.g;

  rms_norm(workers_, x, norm(at.attn_norm), eps_, rows(), d, normed);
  linear_forward(layer, Module::kQkvProj, normed, kept.qkv);
  qk_norm_rope<T>(workers_, shape, rope_, kept.qkv, qk_norm(at.q_norm), qk_norm(at.k_norm), eps_,
                  sequences_, kept.qk);
  attention<T>(workers_, shape, kept.qk, kept.qkv, sequences_, kept.a, kept.lse);
  linear_forward(layer, Module::kOutProj, kept.a, branch);
  add<T>(workers_, x, branch, rows(), d, x_mid);

  rms_norm<T>(workers_, x_mid, norm(at.ffn_norm), eps_, rows(), d, normed);
  linear_forward(layer, Module::kProj1, normed, kept.gate_up);
  swiglu<T>(workers_, config_.ffn_with_glu, kept.gate_up, rows(), config_.ffn_dims[layer], g);
  linear_forward(layer, Module::kProj2, g, branch);
  add<T>(workers_, x_mid, branch, rows(), d, x_out);
}

template <typename T>
void TrainerOf<T>::layer_backward(int layer, bool needs_dx) {
  check_cancelled();
  if (recompute_) layer_forward(layer);
  const Parameters::Layer& at = parameters_.layers[layer];
  LayerActivations<T>& kept = activations_.layer(layer);
  const HeadShape shape = heads(layer);
  const RowBlocks& blocks = sequences_.blocks();
  const int d = config_.model_dim;
  const int f = config_.ffn_dims[layer];
  const T* x = activations_.x[layer];
  const T* x_mid = kept.x_mid;
  T* normed = activations_.normed;
  T* g = activations_.g;
  T* dx = activations_.dx;
  T* dnormed = activations_.dnormed;
  T* dg = activations_.dg;
  T* dgate_up = activations_.dgate_up;
  T* da = activations_.da;
  T* dqk = activations_.dqk;
  T* dqkv = activations_.dqkv;

  swiglu<T>(workers_, config_.ffn_with_glu, kept.gate_up, rows(), f, g);
  linear_backward(layer, Module::kProj2, g, dx, dg);
  swiglu_backward<T>(workers_, config_.ffn_with_glu, kept.gate_up, dg, rows(), f, dgate_up);
  rms_norm<T>(workers_, x_mid, norm(at.ffn_norm), eps_, rows(), d, normed);
  linear_backward(layer, Module::kProj1, normed, dgate_up, dnormed);
  rms_norm_backward<T>(workers_, x_mid, norm(at.ffn_norm), eps_, dnormed, blocks, d, dx,
                       gradient(at.ffn_norm));

  linear_backward(layer, Module::kOutProj, kept.a, dx, da);
  attention_backward<T>(workers_, shape, kept.qk, kept.qkv, kept.a, kept.lse, da, sequences_, dqk,
                        dqkv);
  qk_norm_rope_backward<T>(workers_, shape, rope_, kept.qkv, qk_norm(at.q_norm), qk_norm(at.k_norm),
                           eps_, dqk, sequences_, dqkv, dqk_norm(at.q_norm), dqk_norm(at.k_norm));
  rms_norm<T>(workers_, x, norm(at.attn_norm), eps_, rows(), d, normed);
  linear_backward(layer, Module::kQkvProj, normed, dqkv, needs_dx ? dnormed : nullptr);
  if (!needs_dx) return;
  rms_norm_backward<T>(workers_, x, norm(at.attn_norm), eps_, dnormed, blocks, d, dx,
                       gradient(at.attn_norm));
}

template <typename T>
T* TrainerOf<T>::logits(const HeadRows& rows) {
  const int d = config_.model_dim;
  rows.gather(workers_, static_cast<const T*>(activations_.x[config_.num_layers]), d,
              static_cast<T*>(activations_.head_x));
  rms_norm<T>(workers_, activations_.head_x, norm(parameters_.norm), eps_, rows.count(), d,
              activations_.normed);
  linear<T>(workers_, activations_.normed, model_.matrix(parameters_.lm_head), rows.count(), d,
            config_.vocab_size, activations_.logits);
  return activations_.logits;
}

template <typename T>
std::vector<LossSums> TrainerOf<T>::head_backward(const GradientOptions& options) {
  const int d = config_.model_dim;
  const int vocab_size = config_.vocab_size;
  std::fill_n(static_cast<T*>(activations_.dx), size_t(rows()) * d, T(0));
  std::vector<LossSums> sums(sequences_.count());
  std::vector<double> scales;
  for_head_rows([&](const HeadRows& rows) {
    const int count = rows.count();
    scales.resize(count);
    for (int i = 0; i < count; ++i) scales[i] = options.scales[sequences_.sequence(rows.row(i))];
    T* dlogits = logits(rows);
    cross_entropy_backward(workers_, dlogits, rows.targets(), scales.data(), count, vocab_size,
                           options.z_loss, losses_.data());
    add_losses(rows, sums);
    const Weight<T> head = model_.matrix(parameters_.lm_head);
    linear_dx<T>(workers_, head, dlogits, count, d, vocab_size, activations_.dnormed);
    if (T* dhead = gradient(parameters_.lm_head)) {
      linear_dweight<T>(workers_, activations_.normed, dlogits, rows.blocks(), d, vocab_size,
                        dhead);
    }
    std::fill_n(static_cast<T*>(activations_.head_dx), size_t(count) * d, T(0));
    rms_norm_backward<T>(workers_, activations_.head_x, norm(parameters_.norm), eps_,
                         activations_.dnormed, rows.blocks(), d, activations_.head_dx,
                         gradient(parameters_.norm));
    rows.scatter(workers_, static_cast<const T*>(activations_.head_dx), d,
                 static_cast<T*>(activations_.dx));
  });
  return sums;
}

}  // namespace

std::unique_ptr<Trainer> Trainer::create(const TrainerOptions& options, bool float64) {
  check(options.config);
  check(options.config, options.adapter);
  if (options.max_tokens > kMaxTrainedTokens) {
    throw Error(ErrorCode::kInvalidArgument, "expected fewer tokens in a call");
  }
  if (float64) return std::make_unique<TrainerOf<double>>(options);
  return std::make_unique<TrainerOf<float>>(options);
}

}  // namespace openelm::train
