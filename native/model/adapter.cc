#include "adapter.h"

#include <algorithm>
#include <utility>

#include "../backend.h"
#include "../error.h"
#include "load.h"

namespace openelm {

namespace {

// The matrices of a layer.
struct Module {
  const char* name;
  Matrix Layer::* matrix;
  AdaptedMatrix AdaptedLayer::* adapted;
};
constexpr Module kModules[] = {
    {"attn.qkv_proj.weight", &Layer::qkv_proj, &AdaptedLayer::qkv_proj},
    {"attn.out_proj.weight", &Layer::out_proj, &AdaptedLayer::out_proj},
    {"ffn.proj_1.weight", &Layer::proj_1, &AdaptedLayer::proj_1},
    {"ffn.proj_2.weight", &Layer::proj_2, &AdaptedLayer::proj_2},
};

// A matrix of the model, and what an adapter makes of it.
struct Place {
  const Matrix& matrix;
  MatrixLayout layout;
  AdaptedMatrix& adapted;
};

Place find_place(const Weights& weights, const std::string& name, Adapter& adapter) {
  if (name == kEmbeddingsName) {
    return {weights.token_embeddings, MatrixLayout::kPlain, adapter.token_embeddings};
  }
  for (const Layer& layer : weights.layers) {
    for (const Module& module : kModules) {
      if (name != layer_prefix(layer.index) + module.name) continue;
      const bool gate_up = module.matrix == &Layer::proj_1 && weights.config.ffn_with_glu;
      return {layer.*module.matrix, gate_up ? MatrixLayout::kGateUp : MatrixLayout::kPlain,
              adapter.layers[layer.index].*module.adapted};
    }
  }
  throw Error(ErrorCode::kInvalidArgument, "the model has no matrix " + name + " to adapt");
}

void check_shape(const AdapterTarget& target, const Matrix& matrix) {
  const size_t rank = target.rank > 0 ? size_t(target.rank) : 0;
  const size_t rows = size_t(matrix.rows);
  const size_t magnitudes = target.magnitudes.empty() ? 0 : rows;
  if (rank > 0 && target.a.size() == rank * matrix.cols && target.b.size() == rows * rank &&
      target.magnitudes.size() == magnitudes) {
    return;
  }
  throw Error(ErrorCode::kInvalidArgument, "the adapter of " + target.name + " has another shape");
}

void append(const AdaptedMatrix& from, float scale, AdaptedMatrix& to) {
  for (LowRank part : from.additions) {
    part.scale *= scale;
    to.additions.push_back(std::move(part));
  }
}

size_t bytes_of(const AdaptedMatrix& matrix) {
  size_t bytes = matrix.gains.size() * sizeof(float);
  for (const LowRank& part : matrix.additions) bytes += part.a.data.bytes + part.b.data.bytes;
  return bytes;
}

}  // namespace

size_t Adapter::bytes() const {
  size_t total = bytes_of(token_embeddings);  // whose memory the head shares
  for (const AdaptedLayer& layer : layers) {
    for (const Module& module : kModules) total += bytes_of(layer.*module.adapted);
  }
  return total;
}

bool Adapter::has_gains() const {
  return std::any_of(layers.begin(), layers.end(), [](const AdaptedLayer& layer) {
    return std::any_of(std::begin(kModules), std::end(kModules), [&](const Module& module) {
      return !(layer.*module.adapted).gains.empty();
    });
  });
}

void Adapters::require_model() const {
  if (is_cleared_) throw Error(ErrorCode::kDisposed, "the model is disposed");
}

Adapters::Loaded Adapters::load(const std::vector<AdapterTarget>& targets, bool adapts_head) {
  std::unique_lock lock(mutex_);
  require_model();
  const std::shared_ptr<Backend> backend = backend_;
  const Weights weights = weights_;  // whose memory stays until this is done
  lock.unlock();
  const auto adapter = std::make_shared<Adapter>();
  adapter->layers.resize(weights.layers.size());
  for (const AdapterTarget& target : targets) {
    check_shape(target, find_place(weights, target.name, *adapter).matrix);
  }
  for (const AdapterTarget& target : targets) {
    require_model();
    const Place place = find_place(weights, target.name, *adapter);
    place.adapted = backend->adapt(place.matrix, place.layout, target);
  }
  if (adapts_head && weights.config.share_input_output_layers) {
    adapter->lm_head = adapter->token_embeddings;
  }
  lock.lock();
  require_model();
  watch(adapter);
  loaded_[++last_id_] = adapter;
  return {last_id_, adapter->bytes()};
}

void Adapters::watch(const std::shared_ptr<Adapter>& adapter) {
  std::erase_if(all_, [](const auto& watched) { return watched.expired(); });
  all_.push_back(adapter);
}

void Adapters::unload(int id) {
  std::shared_ptr<Adapter> unloaded;  // freed without the mutex
  std::lock_guard lock(mutex_);
  const auto found = loaded_.find(id);
  if (found == loaded_.end()) return;
  unloaded = std::move(found->second);
  loaded_.erase(found);
}

std::shared_ptr<const Adapter> Adapters::find(std::span<const Part> parts) {
  std::lock_guard lock(mutex_);
  require_model();
  if (parts.empty()) return nullptr;
  const auto at = [&](const Part& part) {
    const auto found = loaded_.find(part.id);
    if (found != loaded_.end()) return found->second;
    throw Error(ErrorCode::kInvalidArgument, "the adapter is unloaded");
  };
  if (parts.size() == 1 && parts[0].scale == 1) return at(parts[0]);
  const auto sum = std::make_shared<Adapter>();
  sum->layers.resize(weights_.layers.size());
  for (const Part& part : parts) {
    const std::shared_ptr<Adapter> adapter = at(part);
    if (adapter->has_gains()) {
      throw Error(ErrorCode::kInvalidArgument, "a DoRA adapter stands alone, at scale 1");
    }
    append(adapter->token_embeddings, part.scale, sum->token_embeddings);
    append(adapter->lm_head, part.scale, sum->lm_head);
    for (size_t i = 0; i < sum->layers.size(); ++i) {
      for (const Module& module : kModules) {
        append(adapter->layers[i].*module.adapted, part.scale, sum->layers[i].*module.adapted);
      }
    }
  }
  watch(sum);
  return sum;
}

void Adapters::clear() {
  std::lock_guard lock(mutex_);
  is_cleared_ = true;
  for (const auto& weak : all_) {
    if (const std::shared_ptr<Adapter> adapter = weak.lock()) *adapter = Adapter();
  }
  loaded_.clear();
  backend_ = nullptr;
}

}  // namespace openelm
