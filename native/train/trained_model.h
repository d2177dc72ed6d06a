#pragma once

#include <cmath>

#include "activations.h"
#include "frozen_weights.h"
#include "lora.h"
#include "trainer.h"

namespace openelm::train {

// The tensors of a model in training: its weights, and what is trained of them or beside them.
template <typename T>
class TrainedModel {
 public:
  TrainedModel(const Config& config, const AdapterOptions& options, DType frozen_dtype)
      : config_(config), parameters_(config), adapters_(config, options) {
    if (adapted()) frozen_ = FrozenWeights<T>(parameters_, frozen_dtype);
    for (Pages<T>& array : arrays_) array = Pages<T>(trained().size());
    for (const AdapterParameters::Target& target : adapters_.targets) {
      norms_.emplace_back(target.has_m ? target.shape.rows : 0);
    }
  }

  bool adapted() const { return !adapters_.targets.empty(); }
  const Parameters& parameters() const { return parameters_; }
  const AdapterParameters& adapters() const { return adapters_; }
  // What the first four arrays hold.
  const Layout& trained() const {
    return adapted() ? static_cast<const Layout&>(adapters_) : parameters_;
  }

  size_t size(Array array) const {
    if (array != Array::kFrozen) return trained().size();
    return adapted() && frozen_.all() ? parameters_.size() : 0;
  }
  T* data(Array array) const {
    return array == Array::kFrozen ? frozen_.all() : static_cast<T*>(arrays_[int(array)]);
  }
  Pages<T>& gradients() { return arrays_[int(Array::kGradients)]; }
  AdamWState<T> state() const { return {arrays_[0], arrays_[1], arrays_[2], arrays_[3]}; }

  std::vector<typename FrozenWeights<T>::Piece> frozen_pieces() const {
    return adapted() ? frozen_.pieces() : std::vector<typename FrozenWeights<T>::Piece>();
  }

  // Of the model: a norm, and a matrix.
  const T* norm(size_t begin) const {
    return adapted() ? frozen_.plain(begin) : arrays_[0] + begin;
  }
  Weight<T> matrix(size_t begin) const {
    return adapted() ? frozen_.matrix(begin) : static_cast<const T*>(arrays_[0] + begin);
  }
  // Null when the weight is frozen.
  T* gradient(size_t offset) const { return adapted() ? nullptr : arrays_[1] + offset; }

  // The index of a target of the adapter, without the memory of its activations.
  LoraTensors<T> lora(int index) const {
    const AdapterParameters::Target& target = adapters_.targets[index];
    LoraTensors<T> tensors;
    tensors.rank = target.rank;
    tensors.scale = T(target.scale);
    tensors.index = index;
    tensors.a = arrays_[0] + target.a;
    tensors.b = arrays_[0] + target.b;
    tensors.da = arrays_[1] + target.a;
    tensors.db = arrays_[1] + target.b;
    if (target.has_m) {
      tensors.g = norms_[index].g.data();
      tensors.n = norms_[index].n.data();
      tensors.dm = arrays_[1] + target.m;
    }
    return tensors;
  }
  LinearTensors<T> linear(int layer, Module module) const {
    const MatrixShape shape = shape_of(config_, layer, module);
    const size_t offset = parameters_.matrix(layer, module);
    return {shape.cols, shape.rows, matrix(offset), gradient(offset)};
  }

  // Reads the model's own weights from the tensors of a checkpoint, in the order of the layout.
  void load(TaskPool& pool, const std::vector<TensorSource>& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const size_t begin = parameters_.tensors[i].begin;
      if (adapted()) {
        frozen_.read(pool, tensors[i], begin);
      } else {
        read_tensor(pool, tensors[i], arrays_[0] + begin);
      }
    }
    forget_frozen_norms();
  }

  // Computes the norms of DoRA again, after weights or magnitudes have changed.
  void update_norms(Workers<T>& workers) {
    for_magnitudes(workers, [](Norms& norms, T* m, int o) { norms.g[o] = m[o] / norms.n[o]; });
  }
  void reset_magnitudes(Workers<T>& workers) {
    for_magnitudes(workers, [](Norms& norms, T* m, int o) { m[o] = norms.n[o]; });
  }
  void forget_frozen_norms() {
    for (Norms& norms : norms_) norms.has_squares = false;
  }

 private:
  // Of one target.
  struct Norms {
    explicit Norms(int out) : squares(out), n(out), g(out) {}

    bool has_squares = false;
    std::vector<double> squares;  // [out], of the norms of the rows of W
    std::vector<T> n;             // [out], of those of W + scale * B * A
    std::vector<T> g;             // [out], m / n
  };

  template <typename Body>
  void for_magnitudes(Workers<T>& workers, const Body& body) {
    for (size_t i = 0; i < norms_.size(); ++i) {
      const AdapterParameters::Target& target = adapters_.targets[i];
      if (!target.has_m) continue;
      Norms& norms = norms_[i];
      const LoraTensors<T> tensors = lora(int(i));
      LinearTensors<T> layer = linear(target.layer, target.module);
      layer.lora = &tensors;
      if (!norms.has_squares) squared_norms(workers, layer, norms.squares.data());
      norms.has_squares = true;
      dora_norms(workers, layer, norms.squares.data(), norms.n.data());
      for (int o = 0; o < target.shape.rows; ++o) body(norms, arrays_[0] + target.m, o);
    }
  }

  const Config config_;
  const Parameters parameters_;
  const AdapterParameters adapters_;
  FrozenWeights<T> frozen_;
  Pages<T> arrays_[4];
  std::vector<Norms> norms_;
};

}  // namespace openelm::train
