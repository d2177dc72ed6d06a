#include "arguments.h"

#include "../error.h"

namespace openelm {

static int integer(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int32Value();
}

static uint64_t offset(const Napi::Object& object, const char* name) {
  return uint64_t(object.Get(name).As<Napi::Number>().Int64Value());
}

static bool boolean(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Boolean>();
}

static std::string text(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::String>();
}

static std::vector<int> integers(const Napi::Object& object, const char* name) {
  const auto array = object.Get(name).As<Napi::Array>();
  std::vector<int> result;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    result.push_back(array.Get(i).As<Napi::Number>().Int32Value());
  }
  return result;
}

Config read_config(const Napi::Object& object) {
  Config config;
  config.num_layers = integer(object, "numLayers");
  config.model_dim = integer(object, "modelDim");
  config.head_dim = integer(object, "headDim");
  config.vocab_size = integer(object, "vocabSize");
  config.max_context_length = integer(object, "maxContextLength");
  config.num_query_heads = integers(object, "numQueryHeads");
  config.num_kv_heads = integers(object, "numKvHeads");
  config.ffn_dims = integers(object, "ffnDims");
  config.ffn_with_glu = boolean(object, "ffnWithGlu");
  config.normalize_qk_projections = boolean(object, "normalizeQkProjections");
  config.share_input_output_layers = boolean(object, "shareInputOutputLayers");
  config.rope_freq_constant = object.Get("ropeFreqConstant").As<Napi::Number>().FloatValue();
  config.rms_norm_eps = object.Get("rmsNormEps").As<Napi::Number>().FloatValue();
  return config;
}

static DType parse_tensor_type(const std::string& name) {
  if (name == "F32") return DType::kFloat32;
  if (name == "F16") return DType::kFloat16;
  if (name == "BF16") return DType::kBFloat16;
  if (name == "I8") return DType::kQ8;
  if (name == "U8") return DType::kQ4;
  throw Error(ErrorCode::kInvalidArgument, "unknown tensor type " + name);
}

std::shared_ptr<const File> TensorReader::open(const std::string& path) {
  std::shared_ptr<const File>& file = files_[path];
  if (!file) file = File::open(path, map_files_);
  return file;
}

TensorSource TensorReader::read(const Napi::Object& object) {
  TensorSource tensor;
  tensor.name = text(object, "name");
  tensor.file = open(text(object, "file"));
  tensor.offset = offset(object, "offset");
  tensor.format = parse_tensor_type(text(object, "dtype"));
  tensor.rows = integer(object, "rows");
  tensor.cols = integer(object, "cols");
  if (tensor.quantized()) {
    tensor.scales_file = open(text(object, "scalesFile"));
    tensor.scales_offset = offset(object, "scalesOffset");
  }
  return tensor;
}

EngineOptions read_engine_options(const Napi::Object& object) {
  EngineOptions options;
  options.config = read_config(object.Get("config").As<Napi::Object>());
  options.dtype = parse_dtype(text(object, "dtype"));
  options.backend = text(object, "backend");
  options.device_index = integer(object, "deviceIndex");
  options.threads = std::max(1, integer(object, "threads"));
  const std::string kv_cache_dtype = text(object, "kvCacheDtype");
  if (kv_cache_dtype != "auto") options.kv_cache_dtype = parse_dtype(kv_cache_dtype);
  TensorReader reader(boolean(object, "mmap"));
  const auto tensors = object.Get("tensors").As<Napi::Array>();
  for (uint32_t i = 0; i < tensors.Length(); ++i) {
    options.tensors.push_back(reader.read(tensors.Get(i).As<Napi::Object>()));
  }
  return options;
}

}  // namespace openelm
