#include "checkpoint_tools.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "../half.h"
#include "../random_normal.h"
#include "../simd/kernels.h"
#include "../simd/thread_pool.h"
#include "addon_data.h"
#include "arguments.h"

namespace openelm {

namespace {

struct QuantizedMatrix {
  std::vector<uint8_t> values;
  std::vector<uint16_t> scales;
};

// Rows are independent, and a task takes enough of them to make a read worthwhile.
void quantize_matrix(const TensorSource& source, DType dtype, int threads,
                     const LoadProgress& progress, QuantizedMatrix& result) {
  constexpr int kRowsPerTask = 64;
  const size_t groups = size_t(source.groups());
  const size_t row_bytes = groups * kGroupSize / (dtype == DType::kQ8 ? 1 : 2);
  result.values.resize(source.rows * row_bytes);
  result.scales.resize(source.rows * groups);
  ThreadPool pool(threads);
  std::vector<RowReader> readers(threads, RowReader(source));
  std::mutex mutex;
  std::exception_ptr error;
  pool.run((source.rows + kRowsPerTask - 1) / kRowsPerTask, [&](int task, int thread) {
    const int first = task * kRowsPerTask;
    const int count = std::min(kRowsPerTask, source.rows - first);
    try {
      progress.check();
      readers[thread].read_quantized(dtype, first, count, &result.values[first * row_bytes],
                                     &result.scales[first * groups]);
    } catch (...) {
      std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
}

Napi::Uint8Array copy_bytes(Napi::Env env, const void* data, size_t bytes) {
  auto array = new_array(env, "Uint8Array", bytes).As<Napi::Uint8Array>();
  std::memcpy(array.Data(), data, bytes);
  return array;
}

// quantize(tensor, dtype, threads): Promise<{ values, scales }>
Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const TensorSource source = TensorReader(false).read(info[0].As<Napi::Object>());
    const DType dtype = parse_dtype(info[1].As<Napi::String>());
    const int threads = std::max(1, info[2].As<Napi::Number>().Int32Value());
    if (dtype != DType::kQ8 && dtype != DType::kQ4) {
      throw Error(ErrorCode::kInvalidArgument, "expected dtype q8 or q4");
    }
    const auto progress = std::make_shared<LoadProgress>(0, nullptr);
    const auto result = std::make_shared<QuantizedMatrix>();
    return AddonData::of(env).run_in_background(
        env, [=] { quantize_matrix(source, dtype, threads, *progress, *result); },
        [=](Napi::Env env) -> Napi::Value {
          auto object = Napi::Object::New(env);
          object.Set("values", copy_bytes(env, result->values.data(), result->values.size()));
          object.Set("scales", copy_bytes(env, result->scales.data(), result->scales.size() * 2));
          return object;
        },
        [=] { progress->cancel(); });
  });
}

void convert(const std::vector<float>& from, const std::string& dtype, uint8_t* to) {
  auto* halves = reinterpret_cast<uint16_t*>(to);
  if (dtype == "F32") {
    std::memcpy(to, from.data(), from.size() * sizeof(float));
  } else if (dtype == "F16") {
    cpu_kernels().to_f16(from.data(), int(from.size()), halves);
  } else if (dtype == "BF16") {
    std::transform(from.begin(), from.end(), halves, float_to_bf16);
  } else {
    throw Error(ErrorCode::kInvalidArgument, "expected dtype F32, F16 or BF16");
  }
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
    const std::string dtype = info[5].As<Napi::String>();
    if (begin > end || end - begin > (1u << 28)) {
      throw Error(ErrorCode::kInvalidArgument, "expected a range of at most 2^28 elements");
    }
    const auto bytes = std::make_shared<std::vector<uint8_t>>();
    const auto work = [=] {
      std::vector<float> values(size_t(end - begin));
      random_normal(seed, stream, begin, end, std, values.data());
      bytes->resize(values.size() * (dtype == "F32" ? 4 : 2));
      convert(values, dtype, bytes->data());
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
  exports.Set("randomNormal", Napi::Function::New<random_normal_bytes>(env, "randomNormal"));
}

}  // namespace openelm
