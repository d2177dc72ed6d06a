#include "load.h"

#include <map>

#include "../error.h"

namespace openelm {

DType default_kv_cache_dtype(const std::string& backend, DType weights) {
  if (weights == DType::kFloat32) return DType::kFloat32;
  return backend == "cpu" && !is_quantized(weights) ? DType::kFloat32 : DType::kFloat16;
}

std::string layer_prefix(int layer) { return "transformer.layers." + std::to_string(layer) + "."; }

DType matrix_dtype(DType model_dtype, const std::string& name, int cols) {
  const bool reaches_logits = name == kEmbeddingsName || name == kHeadName;
  const bool ragged = cols % kGroupSize != 0;
  return model_dtype == DType::kQ4 && (reaches_logits || ragged) ? DType::kQ8 : model_dtype;
}

namespace {

class Loader {
 public:
  Loader(Backend& backend, const std::vector<TensorSource>& tensors, DType dtype,
         LoadProgress& progress)
      : backend_(backend), dtype_(dtype), progress_(progress) {
    for (const TensorSource& tensor : tensors) tensors_[tensor.name] = &tensor;
  }

  Matrix matrix(const std::string& name, int rows, int cols,
                MatrixLayout layout = MatrixLayout::kPlain) {
    const DType dtype = matrix_dtype(dtype_, name, cols);
    return backend_.load_matrix(find(name, rows, cols), dtype, layout, progress_);
  }

  Buffer vector(const std::string& name, int size) {
    const TensorSource& source = find(name, 1, size);
    std::vector<float> values(size);
    RowReader(source).read_float(0, 1, values.data());
    const size_t bytes = values.size() * sizeof(float);
    const Buffer buffer = backend_.allocate(bytes);
    backend_.upload(values.data(), bytes, buffer);
    progress_.add(source.bytes());
    return buffer;
  }

 private:
  const TensorSource& find(const std::string& name, int rows, int cols) {
    progress_.check();
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw Error(ErrorCode::kInvalidCheckpoint, "tensor " + name + " is missing");
    }
    const TensorSource& tensor = *found->second;
    if (tensor.rows != rows || tensor.cols != cols) {
      throw Error(ErrorCode::kInvalidCheckpoint, "tensor " + name + " has the wrong shape");
    }
    return tensor;
  }

  Backend& backend_;
  const DType dtype_;
  LoadProgress& progress_;
  std::map<std::string, const TensorSource*> tensors_;
};

}  // namespace

Weights load_weights(Backend& backend, const Config& config,
                     const std::vector<TensorSource>& tensors, DType dtype,
                     LoadProgress& progress) {
  Loader load(backend, tensors, dtype, progress);
  const int d = config.model_dim;
  Weights weights;
  weights.config = config;
  weights.token_embeddings = load.matrix(kEmbeddingsName, config.vocab_size, d);
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string prefix = layer_prefix(i);
    Layer layer;
    layer.index = i;
    layer.num_query_heads = config.num_query_heads[i];
    layer.num_kv_heads = config.num_kv_heads[i];
    layer.ffn_dim = config.ffn_dims[i];
    layer.attn_norm = load.vector(prefix + "attn_norm.weight", d);
    layer.qkv_proj = load.matrix(prefix + "attn.qkv_proj.weight", config.qkv_dim(i), d);
    if (config.normalize_qk_projections) {
      layer.q_norm = load.vector(prefix + "attn.q_norm.weight", config.head_dim);
      layer.k_norm = load.vector(prefix + "attn.k_norm.weight", config.head_dim);
    }
    layer.out_proj = load.matrix(prefix + "attn.out_proj.weight", d, config.q_dim(i));
    layer.ffn_norm = load.vector(prefix + "ffn_norm.weight", d);
    layer.proj_1 =
        config.ffn_with_glu
            ? load.matrix(prefix + "ffn.proj_1.weight", 2 * layer.ffn_dim, d, MatrixLayout::kGateUp)
            : load.matrix(prefix + "ffn.proj_1.weight", layer.ffn_dim, d);
    layer.proj_2 = load.matrix(prefix + "ffn.proj_2.weight", d, layer.ffn_dim);
    weights.layers.push_back(std::move(layer));
  }
  weights.norm = load.vector("transformer.norm.weight", d);
  weights.lm_head = config.share_input_output_layers ? weights.token_embeddings
                                                     : load.matrix(kHeadName, config.vocab_size, d);
  return weights;
}

std::shared_ptr<Engine> load_engine(const LoadOptions& options, LoadProgress& progress) {
  check(options.config);
  const DType kv_cache_dtype =
      options.kv_cache_dtype.value_or(default_kv_cache_dtype(options.backend, options.dtype));
  std::shared_ptr<Backend> backend =
      create_backend(options.backend, options.device_index, options.threads, kv_cache_dtype);
  backend->require(options.config);
  Weights weights =
      load_weights(*backend, options.config, options.tensors, options.dtype, progress);
  return std::make_shared<Engine>(std::move(backend), std::move(weights));
}

}  // namespace openelm
