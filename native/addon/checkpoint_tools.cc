#include "checkpoint_tools.h"

#include <algorithm>
#include <cstring>

#include "../convert.h"
#include "../cpu/pack.h"
#include "../random_normal.h"
#include "addon_data.h"
#include "arguments.h"

namespace openelm {

namespace {

Napi::Uint8Array copy_bytes(Napi::Env env, const void* data, size_t bytes) {
  auto array = new_array(env, "Uint8Array", bytes).As<Napi::Uint8Array>();
  std::memcpy(array.Data(), data, bytes);
  return array;
}

// quantize(tensor, dtype, threads): Promise<{ values, scales }>
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const TensorArguments tensor = read_tensor(info[0].As<Napi::Object>());
    const DType dtype = parse_dtype(info[1].As<Napi::String>());
    const int threads = std::max(1, info[2].As<Napi::Number>().Int32Value());
    if (!is_quantized(dtype)) {
      throw Error(ErrorCode::kInvalidArgument, "expected dtype q8 or q4");
    }
    const auto progress = std::make_shared<LoadProgress>(0, nullptr);
    const auto result = std::make_shared<QuantizedMatrix>();
    return AddonData::of(env).run_in_background(
        env,
        [=] {
          const TensorSource source = open_tensors({tensor}, false).front();
          *result = quantize_matrix(source, dtype, threads, *progress);
        },
        [=](Napi::Env env) -> Napi::Value {
          auto object = Napi::Object::New(env);
          object.Set("values", copy_bytes(env, result->values.data(), result->values.size()));
          object.Set("scales", copy_bytes(env, result->scales.data(), result->scales.size() * 2));
          return object;
        },
        [=] { progress->cancel(); });
  });
}

// pack(tensor, dtype, layout, threads): Promise<Uint8Array>
Napi::Value pack(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const TensorArguments tensor = read_tensor(info[0].As<Napi::Object>());
    const DType dtype = parse_dtype(info[1].As<Napi::String>());
    const MatrixLayout layout = read_layout(info[2]);
    const int threads = std::max(1, info[3].As<Napi::Number>().Int32Value());
    const auto progress = std::make_shared<LoadProgress>(0, nullptr);
    const auto packed = std::make_shared<std::vector<uint8_t>>();
    return AddonData::of(env).run_in_background(
        env,
        [=] {
          const TensorSource source = open_tensors({tensor}, false).front();
          *packed = cpu::pack_matrix(source, dtype, layout, threads, *progress);
        },
        [=](Napi::Env env) -> Napi::Value {
          return copy_bytes(env, packed->data(), packed->size());
        },
        [=] { progress->cancel(); });
  });
}

// randomNormal(seed, stream, begin, end, std, dtype): Promise<Uint8Array>
Napi::Value random_normal_bytes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    bool lossless = false;
    const uint64_t seed = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
    const auto number = [&](int i) { return info[i].As<Napi::Number>(); };
    const auto stream = uint64_t(number(1).Int64Value());
    const auto begin = uint64_t(number(2).Int64Value());
    const auto end = uint64_t(number(3).Int64Value());
    const double std = number(4).DoubleValue();
    const DType dtype = parse_tensor_type(info[5].As<Napi::String>());
    if (is_quantized(dtype)) {
      throw Error(ErrorCode::kInvalidArgument, "expected dtype F32, F16 or BF16");
    }
    if (begin > end || end - begin > (1u << 28)) {
      throw Error(ErrorCode::kInvalidArgument, "expected a range of at most 2^28 elements");
    }
    const auto bytes = std::make_shared<std::vector<uint8_t>>();
    const auto work = [=] {
      std::vector<float> values(size_t(end - begin));
      random_normal(seed, stream, begin, end, std, values.data());
      bytes->resize(bytes_of(dtype, int(values.size())));
      from_float32(dtype, values.data(), values.size(), bytes->data());
    };
    const auto finish = [=](Napi::Env env) -> Napi::Value {
      return copy_bytes(env, bytes->data(), bytes->size());
    };
    return AddonData::of(env).run_in_background(env, work, finish, [] {});
  });
}

}  // namespace

void init_checkpoint_tools(Napi::Env env, Napi::Object exports) {
  exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
  exports.Set("pack", Napi::Function::New<pack>(env, "pack"));
  exports.Set("randomNormal", Napi::Function::New<random_normal_bytes>(env, "randomNormal"));
}

}  // namespace openelm
