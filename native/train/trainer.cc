#include "trainer.h"

#include <algorithm>
#include <cstring>

#include "../error.h"
#include "activations.h"

namespace openelm::train {

namespace {

// Rows whose logits are in memory at a time: V is by far the widest of all widths.
constexpr int kHeadRows = 512;

template <typename T>
class TrainerOf final : public Trainer {
 public:
  explicit TrainerOf(const TrainerOptions& options)
      : config_(options.config),
        length_(options.sequence_length),
        recompute_(options.recompute),
        eps_(T(config_.rms_norm_eps)),
        parameters_(config_),
        rope_(0, config_.head_dim, config_.rope_freq_constant),
        workers_(options.threads, cancelled_),
        activations_(config_, size_t(options.max_sequences) * length_,
                     std::min(kHeadRows, options.max_sequences * length_), recompute_) {
    for (Pages<T>& array : arrays_) array = Pages<T>(parameters_.size());
  }

  size_t num_parameters() const override { return parameters_.size(); }
  size_t element_bytes() const override { return sizeof(T); }
  void* data(Array array) override { return arrays_[int(array)]; }

  LossSums accumulate(const int32_t* tokens, const int32_t* targets, int sequences, double scale,
                      double z_loss) override {
    const int rows = sequences * length_;
    forward(tokens, sequences);
    const LossSums sums = head_backward(targets, rows, scale, z_loss);
    for (int layer = config_.num_layers - 1; layer >= 0; --layer) layer_backward(layer, sequences);
    embed_backward<T>(workers_, tokens, activations_.dx, rows, config_.model_dim,
                      gradient(parameters_.token_embeddings));
    check_cancelled();
    return sums;
  }

  LossSums evaluate(const int32_t* tokens, const int32_t* targets, int sequences) override {
    forward(tokens, sequences);
    LossSums sums;
    for_head_rows(sequences * length_, [&](int begin, int rows) {
      add(sums,
          cross_entropy(workers_, logits(begin, rows), targets + begin, rows, config_.vocab_size));
    });
    check_cancelled();
    return sums;
  }

  double step(const AdamWOptions& options) override {
    check_cancelled();
    return adamw<T>(workers_, parameters_, options,
                    {arrays_[int(Array::kWeights)], arrays_[int(Array::kGradients)],
                     arrays_[int(Array::kFirstMoments)], arrays_[int(Array::kSecondMoments)]});
  }

 private:
  const T* weight(size_t offset) const { return arrays_[int(Array::kWeights)] + offset; }
  T* gradient(size_t offset) const { return arrays_[int(Array::kGradients)] + offset; }

  HeadShape heads(int layer) const {
    return {config_.num_query_heads[layer], config_.num_kv_heads[layer], config_.head_dim};
  }
  int gate_up_dim(int layer) const {
    return config_.ffn_with_glu ? 2 * config_.ffn_dims[layer] : config_.ffn_dims[layer];
  }
  // Of q_norm or k_norm: null when the model has none.
  const T* qk_norm(size_t offset) const {
    return config_.normalize_qk_projections ? weight(offset) : nullptr;
  }

  void forward(const int32_t* tokens, int sequences) {
    rope_.extend(length_);
    embed<T>(workers_, tokens, weight(parameters_.token_embeddings), sequences * length_,
             config_.model_dim, activations_.x[0]);
    for (int layer = 0; layer < config_.num_layers; ++layer) layer_forward(layer, sequences);
  }

  void layer_forward(int layer, int sequences);
  void layer_backward(int layer, int sequences);

  // logits [rows, V] of the rows from `begin` on; leaves their final norm in activations_.normed.
  T* logits(int begin, int rows);
  LossSums head_backward(const int32_t* targets, int rows, double scale, double z_loss);

  template <typename Body>
  void for_head_rows(int rows, const Body& body) {
    for (int begin = 0; begin < rows; begin += kHeadRows) {
      check_cancelled();
      body(begin, std::min(kHeadRows, rows - begin));
    }
  }

  static void add(LossSums& sums, const LossSums& more) {
    sums.cross_entropy += more.cross_entropy;
    sums.squared_lse += more.squared_lse;
  }

  void check_cancelled() const {
    if (cancelled_) throw Error(ErrorCode::kAborted, "the training step was cancelled");
  }

  const Config config_;
  const int length_;  // S
  const bool recompute_;
  const T eps_;
  const Parameters parameters_;
  RopeTable<T> rope_;
  Workers<T> workers_;
  Activations<T> activations_;
  Pages<T> arrays_[4];
};

template <typename T>
void TrainerOf<T>::layer_forward(int layer, int sequences) {
  check_cancelled();
  const Parameters::Layer& at = parameters_.layers[layer];
  LayerActivations<T>& kept = activations_.layer(layer);
  const HeadShape shape = heads(layer);
  const int rows = sequences * length_;
  const int d = config_.model_dim;
  const int f = config_.ffn_dims[layer];
  const T* x = activations_.x[layer];
  T* x_mid = kept.x_mid;
  T* x_out = activations_.x[layer + 1];
  T* normed = activations_.normed;
  T* g = activations_.g;

  rms_norm(workers_, x, weight(at.attn_norm), eps_, rows, d, normed);
  linear<T>(workers_, normed, weight(at.qkv_proj), rows, d, shape.qkv_dim(), kept.qkv);
  qk_norm_rope<T>(workers_, shape, rope_, kept.qkv, qk_norm(at.q_norm), qk_norm(at.k_norm), eps_,
                  rows, kept.qk);
  attention<T>(workers_, shape, kept.qk, kept.qkv, sequences, length_, kept.a, kept.lse);
  std::memcpy(x_mid, x, size_t(rows) * d * sizeof(T));
  linear_add<T>(workers_, kept.a, weight(at.out_proj), rows, shape.q_dim(), d, x_mid);

  rms_norm<T>(workers_, x_mid, weight(at.ffn_norm), eps_, rows, d, normed);
  linear<T>(workers_, normed, weight(at.proj_1), rows, d, gate_up_dim(layer), kept.gate_up);
  swiglu<T>(workers_, config_.ffn_with_glu, kept.gate_up, rows, f, g);
  std::memcpy(x_out, x_mid, size_t(rows) * d * sizeof(T));
  linear_add<T>(workers_, g, weight(at.proj_2), rows, f, d, x_out);
}

// activations_.dx comes as the gradient by the layer's output and leaves as the one by its input.
template <typename T>
void TrainerOf<T>::layer_backward(int layer, int sequences) {
  check_cancelled();
  if (recompute_) layer_forward(layer, sequences);
  const Parameters::Layer& at = parameters_.layers[layer];
  LayerActivations<T>& kept = activations_.layer(layer);
  const HeadShape shape = heads(layer);
  const int rows = sequences * length_;
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

  swiglu<T>(workers_, config_.ffn_with_glu, kept.gate_up, rows, f, g);
  linear_backward<T>(workers_, g, weight(at.proj_2), dx, rows, f, d, dg, gradient(at.proj_2));
  swiglu_backward<T>(workers_, config_.ffn_with_glu, kept.gate_up, dg, rows, f, dgate_up);
  rms_norm<T>(workers_, x_mid, weight(at.ffn_norm), eps_, rows, d, normed);
  linear_backward<T>(workers_, normed, weight(at.proj_1), dgate_up, rows, d, gate_up_dim(layer),
                     dnormed, gradient(at.proj_1));
  rms_norm_backward<T>(workers_, x_mid, weight(at.ffn_norm), eps_, dnormed, rows, d, dx,
                       gradient(at.ffn_norm));

  linear_backward<T>(workers_, kept.a, weight(at.out_proj), dx, rows, shape.q_dim(), d, da,
                     gradient(at.out_proj));
  attention_backward<T>(workers_, shape, kept.qk, kept.qkv, kept.a, kept.lse, da, sequences,
                        length_, dqk, dqkv);
  qk_norm_rope_backward<T>(workers_, shape, rope_, kept.qkv, qk_norm(at.q_norm), qk_norm(at.k_norm),
                           eps_, dqk, rows, dqkv, gradient(at.q_norm), gradient(at.k_norm));
  rms_norm<T>(workers_, x, weight(at.attn_norm), eps_, rows, d, normed);
  linear_backward<T>(workers_, normed, weight(at.qkv_proj), dqkv, rows, d, shape.qkv_dim(), dnormed,
                     gradient(at.qkv_proj));
  rms_norm_backward<T>(workers_, x, weight(at.attn_norm), eps_, dnormed, rows, d, dx,
                       gradient(at.attn_norm));
}

template <typename T>
T* TrainerOf<T>::logits(int begin, int rows) {
  const int d = config_.model_dim;
  const T* x = activations_.x[config_.num_layers] + size_t(begin) * d;
  rms_norm<T>(workers_, x, weight(parameters_.norm), eps_, rows, d, activations_.normed);
  linear<T>(workers_, activations_.normed, weight(parameters_.lm_head), rows, d, config_.vocab_size,
            activations_.logits);
  return activations_.logits;
}

template <typename T>
LossSums TrainerOf<T>::head_backward(const int32_t* targets, int all_rows, double scale,
                                     double z_loss) {
  const int d = config_.model_dim;
  const int vocab_size = config_.vocab_size;
  std::fill_n(static_cast<T*>(activations_.dx), size_t(all_rows) * d, T(0));
  LossSums sums;
  for_head_rows(all_rows, [&](int begin, int rows) {
    T* dlogits = logits(begin, rows);
    add(sums, cross_entropy_backward(workers_, dlogits, targets + begin, rows, vocab_size, scale,
                                     z_loss));
    linear_backward<T>(workers_, activations_.normed, weight(parameters_.lm_head), dlogits, rows, d,
                       vocab_size, activations_.dnormed, gradient(parameters_.lm_head));
    rms_norm_backward<T>(workers_, activations_.x[config_.num_layers] + size_t(begin) * d,
                         weight(parameters_.norm), eps_, activations_.dnormed, rows, d,
                         activations_.dx + size_t(begin) * d, gradient(parameters_.norm));
  });
  return sums;
}

}  // namespace

std::unique_ptr<Trainer> Trainer::create(const TrainerOptions& options, bool float64) {
  check(options.config);
  if (int64_t(options.max_sequences) * options.sequence_length > kMaxTrainedTokens) {
    throw Error(ErrorCode::kInvalidArgument, "expected fewer tokens in a call");
  }
  if (float64) return std::make_unique<TrainerOf<double>>(options);
  return std::make_unique<TrainerOf<float>>(options);
}

}  // namespace openelm::train
