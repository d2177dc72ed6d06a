#pragma once

#include <algorithm>
#include <vector>

#include "../model/model.h"
#include "../pages.h"
#include "parameters.h"

namespace openelm::train {

// An array in pages of its own.
template <typename T>
class Pages {
 public:
  Pages() = default;
  explicit Pages(size_t size) : memory_(allocate_pages(size * sizeof(T))) {}
  operator T*() const { return static_cast<T*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

// What the forward pass of a layer leaves for the backward one, beside its input. T rows.
template <typename T>
struct LayerActivations {
  LayerActivations(size_t rows, int model_dim, int qkv_dim, int qk_dim, int q_dim, int num_heads,
                   int gate_up_dim)
      : qkv(rows * qkv_dim),
        qk(rows * qk_dim),
        a(rows * q_dim),
        lse(rows * num_heads),
        x_mid(rows * model_dim),
        gate_up(rows * gate_up_dim) {}

  Pages<T> qkv;      // [T, (Hq+2*Hkv)*h], as qkv_proj gives it
  Pages<T> qk;       // [T, (Hq+Hkv)*h], normalised and rotated
  Pages<T> a;        // [T, Hq*h]
  Pages<T> lse;      // [T, Hq]
  Pages<T> x_mid;    // [T, d], the residual stream between attention and FFN
  Pages<T> gate_up;  // [T, 2f]
};

// What an adapted matrix leaves for the backward pass.
template <typename T>
struct AdapterActivations {
  Pages<T> u;  // [T, rank]
  Pages<T> v;  // [T, out], touched with DoRA only
};

// Everything between the tokens and the loss.
template <typename T>
struct Activations {
  Activations(const Config& config, const AdapterParameters& adapters, size_t rows,
              size_t head_rows, bool recompute);

  std::vector<Pages<T>> x;                  // [T, d] before each layer and after the last one
  std::vector<LayerActivations<T>> layers;  // one for all of them when they are recomputed

  // One for each target, or for each module when layers are recomputed.
  std::vector<AdapterActivations<T>> adapters;

  Pages<T> normed;    // [T, d]
  Pages<T> branch;    // [T, d]: what a block adds to the residual stream
  Pages<T> g;         // [T, f]
  Pages<T> head_x;    // [head_rows, d], the last x of the rows that have a target
  Pages<T> head_dx;   // [head_rows, d]
  Pages<T> logits;    // [head_rows, V]
  Pages<T> dx;        // [T, d], the gradient by the residual stream
  Pages<T> dnormed;   // [T, d]
  Pages<T> dqkv;      // [T, (Hq+2*Hkv)*h]
  Pages<T> dqk;       // [T, (Hq+Hkv)*h]
  Pages<T> da;        // [T, Hq*h]
  Pages<T> dg;        // [T, f]
  Pages<T> dgate_up;  // [T, 2f]

  // Of adapted layers: LoraScratch in lora.h. The first two with dropout, the third with DoRA.
  Pages<T> dropped;
  Pages<T> ddropped;
  Pages<T> dv;
  Pages<T> du;

  LayerActivations<T>& layer(int index) { return layers[layers.size() == 1 ? 0 : index]; }

 private:
  void add_adapters(const Config& config, const AdapterParameters& parameters, size_t rows,
                    bool recompute);
};

template <typename T>
Activations<T>::Activations(const Config& config, const AdapterParameters& parameters, size_t rows,
                            size_t head_rows, bool recompute) {
  const int d = config.model_dim;
  const int h = config.head_dim;
  const int f = config.max_ffn_dim();
  const int gate_up = config.ffn_with_glu ? 2 : 1;
  const int q_dim = config.max_q_dim();
  const int qkv_dim = config.max_qkv_dim();
  for (int i = 0; i <= config.num_layers; ++i) x.emplace_back(rows * d);
  if (recompute) {
    layers.emplace_back(rows, d, qkv_dim, qkv_dim, q_dim, q_dim / h, gate_up * f);
  } else {
    for (int i = 0; i < config.num_layers; ++i) {
      layers.emplace_back(rows, d, config.qkv_dim(i), config.q_dim(i) + config.kv_dim(i),
                          config.q_dim(i), config.num_query_heads[i], gate_up * config.ffn_dims[i]);
    }
  }
  normed = Pages<T>(rows * d);
  g = Pages<T>(rows * f);
  branch = Pages<T>(rows * d);
  head_x = Pages<T>(head_rows * d);
  head_dx = Pages<T>(head_rows * d);
  logits = Pages<T>(head_rows * config.vocab_size);
  dx = Pages<T>(rows * d);
  dnormed = Pages<T>(rows * d);
  dqkv = Pages<T>(rows * qkv_dim);
  dqk = Pages<T>(rows * qkv_dim);
  da = Pages<T>(rows * q_dim);
  dg = Pages<T>(rows * f);
  dgate_up = Pages<T>(rows * gate_up * f);
  add_adapters(config, parameters, rows, recompute);
}

// Untouched pages cost nothing, so that what may be needed has its widest size.
template <typename T>
void Activations<T>::add_adapters(const Config& config, const AdapterParameters& parameters,
                                  size_t rows, bool recompute) {
  if (parameters.targets.empty()) return;
  const int d = config.model_dim;
  const size_t widest_in = std::max({d, config.max_q_dim(), config.max_ffn_dim()});
  const size_t widest_out = std::max({d, config.max_qkv_dim(), 2 * config.max_ffn_dim()});
  const size_t rank = parameters.max_rank();
  const size_t kept = recompute ? kNumModules : parameters.targets.size();
  for (size_t i = 0; i < kept; ++i) {
    const size_t out = recompute ? widest_out : parameters.targets[i].shape.rows;
    adapters.push_back({Pages<T>(rows * rank), Pages<T>(rows * out)});
  }
  dropped = Pages<T>(rows * widest_in);
  ddropped = Pages<T>(rows * widest_in);
  dv = Pages<T>(rows * widest_out);
  du = Pages<T>(rows * rank);
}

}  // namespace openelm::train
