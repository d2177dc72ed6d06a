#include "arguments.h"

#include <map>

#include "../error.h"
#include "addon_data.h"

namespace openelm {

int integer(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int32Value();
}

double number(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().DoubleValue();
}

int64_t int64(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int64Value();
}

bool boolean(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Boolean>();
}

std::string text(const Napi::Object& object, const char* name) {
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
  config.rope_freq_constant = float(number(object, "ropeFreqConstant"));
  config.rms_norm_eps = float(number(object, "rmsNormEps"));
  return config;
}

DType parse_tensor_type(const std::string& name) {
  if (name == "F32") return DType::kFloat32;
  if (name == "F16") return DType::kFloat16;
  if (name == "BF16") return DType::kBFloat16;
  if (name == "I8") return DType::kQ8;
  if (name == "U8") return DType::kQ4;
  throw Error(ErrorCode::kInvalidArgument, "unknown tensor type " + name);
}

MatrixLayout read_layout(const Napi::Value& value) {
  const std::string name = value.As<Napi::String>();
  if (name == "plain") return MatrixLayout::kPlain;
  if (name == "gateUp") return MatrixLayout::kGateUp;
  throw Error(ErrorCode::kInvalidArgument, "unknown layout " + name);
}

TensorArguments read_tensor(const Napi::Object& object) {
  TensorArguments result;
  TensorSource& tensor = result.tensor;
  tensor.name = text(object, "name");
  tensor.offset = uint64_t(int64(object, "offset"));
  tensor.format = parse_tensor_type(text(object, "dtype"));
  tensor.rows = integer(object, "rows");
  tensor.cols = integer(object, "cols");
  const Napi::Value panels = object.Get("panels");
  if (!panels.IsUndefined()) tensor.panels = read_layout(panels);
  result.file = text(object, "file");
  if (tensor.quantized() && !tensor.panels) {
    result.scales_file = text(object, "scalesFile");
    tensor.scales_offset = uint64_t(int64(object, "scalesOffset"));
  }
  return result;
}

AdapterTarget read_adapter_target(const Napi::Object& object) {
  AdapterTarget target;
  target.name = text(object, "name");
  target.rank = integer(object, "rank");
  target.scale = float(number(object, "scale"));
  target.a = float32s(object.Get("a"), "a");
  target.b = float32s(object.Get("b"), "b");
  const Napi::Value magnitudes = object.Get("magnitudes");
  if (!magnitudes.IsUndefined()) target.magnitudes = float32s(magnitudes, "magnitudes");
  return target;
}

std::vector<TensorSource> open_tensors(const std::vector<TensorArguments>& tensors,
                                       bool map_files) {
  std::map<std::string, std::shared_ptr<const File>> files;
  const auto open = [&](const std::string& path) {
    std::shared_ptr<const File>& file = files[path];
    if (!file) file = File::open(path, map_files);
    return file;
  };
  std::vector<TensorSource> opened;
  for (const TensorArguments& arguments : tensors) {
    opened.push_back(arguments.tensor);
    opened.back().file = open(arguments.file);
    if (!arguments.scales_file.empty()) opened.back().scales_file = open(arguments.scales_file);
  }
  return opened;
}

LoadOptions read_load_options(const Napi::Object& object) {
  LoadOptions options;
  options.config = read_config(object.Get("config").As<Napi::Object>());
  options.dtype = parse_dtype(text(object, "dtype"));
  options.backend = text(object, "backend");
  options.device_index = integer(object, "deviceIndex");
  options.threads = std::max(1, integer(object, "threads"));
  const std::string kv_cache_dtype = text(object, "kvCacheDtype");
  if (kv_cache_dtype != "auto") options.kv_cache_dtype = parse_dtype(kv_cache_dtype);
  return options;
}

}  // namespace openelm
