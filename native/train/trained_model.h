#pragma once

#include <cmath>

#include "activations.h"
#include "lora.h"
#include "trainer.h"

namespace openelm::train {

// The tensors of a model in training: its weights, and what is trained of them or beside them.
template <typename T>
class TrainedModel {
 public:
  TrainedModel(const Config& config, const AdapterOptions& options)
      : config_(config), parameters_(config), adapters_(config, options) {
    if (adapted()) frozen_ = Pages<T>(parameters_.size());
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
    if (array == Array::kFrozen) return adapted() ? parameters_.size() : 0;
    return trained().size();
  }
  T* data(Array array) const { return array == Array::kFrozen ? frozen_ : arrays_[int(array)]; }
  AdamWState<T> state() const { return {arrays_[0], arrays_[1], arrays_[2], arrays_[3]}; }

  // Of the model.
  const T* weight(size_t offset) const { return (adapted() ? frozen_ : arrays_[0]) + offset; }
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
    return {shape.cols, shape.rows, weight(offset), gradient(offset)};
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
  Pages<T> frozen_;
  Pages<T> arrays_[4];
  std::vector<Norms> norms_;
};

}  // namespace openelm::train
