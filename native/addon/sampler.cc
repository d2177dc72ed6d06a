#include "sampler.h"

#include <algorithm>

#include "addon_data.h"

namespace openelm {

// Tells samplers from the other objects that wrap a pointer: Unwrap alone would confuse them.
static constexpr napi_type_tag kTypeTag = {0x6f70656e656c6d53, 0x616d706c65720001};

static SamplerOptions read_options(const Napi::Object& options) {
  const auto number = [&](const char* name) { return options.Get(name).As<Napi::Number>(); };
  bool lossless = false;
  SamplerOptions result;
  result.temperature = number("temperature").DoubleValue();
  result.top_k = number("topK").Int64Value();
  result.top_p = number("topP").DoubleValue();
  result.min_p = number("minP").DoubleValue();
  result.repetition_penalty = number("repetitionPenalty").DoubleValue();
  result.repetition_context_size = number("repetitionContextSize").Int64Value();
  result.seed = options.Get("seed").As<Napi::BigInt>().Uint64Value(&lossless);
  result.logprobs = number("logprobs").Int64Value();
  return result;
}

template <typename Array>
static Array checked_array(const Napi::Value& value, napi_typedarray_type type, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Error(ErrorCode::kInvalidArgument, what);
  }
  return value.As<Array>();
}

Napi::Object sample_to_js(Napi::Env env, const Sample& sample) {
  auto top_tokens = Napi::Int32Array::New(env, sample.top_tokens.size());
  auto top_logprobs = Napi::Float32Array::New(env, sample.top_logprobs.size());
  std::copy(sample.top_tokens.begin(), sample.top_tokens.end(), top_tokens.Data());
  std::copy(sample.top_logprobs.begin(), sample.top_logprobs.end(), top_logprobs.Data());

  auto result = Napi::Object::New(env);
  result.Set("token", sample.token);
  result.Set("logprob", sample.logprob);
  result.Set("topTokens", top_tokens);
  result.Set("topLogprobs", top_logprobs);
  return result;
}

void SamplerWrap::init(Napi::Env env, Napi::Object exports) {
  exports.Set("Sampler", DefineClass(env, "Sampler",
                                     {
                                         StaticMethod("exp", &SamplerWrap::exp),
                                         InstanceMethod("accept", &SamplerWrap::accept),
                                         InstanceMethod("sample", &SamplerWrap::sample),
                                         InstanceMethod("sampleMany", &SamplerWrap::sample_many),
                                     }));
}

std::shared_ptr<Sampler> SamplerWrap::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTypeTag)) {
    throw Error(ErrorCode::kInvalidArgument, "expected a sampler");
  }
  return Unwrap(value.As<Napi::Object>())->sampler_;
}

SamplerWrap::SamplerWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    const int vocab_size = info[0].As<Napi::Number>().Int32Value();
    sampler_ = std::make_shared<Sampler>(vocab_size, read_options(info[1].As<Napi::Object>()));
    info.This().As<Napi::Object>().TypeTag(&kTypeTag);
  });
}

// Lets the tests measure the exponential of the draw.
Napi::Value SamplerWrap::exp(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), portable_exp(info[0].As<Napi::Number>().DoubleValue()));
}

Napi::Value SamplerWrap::accept(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto tokens = checked_array<Napi::Int32Array>(info[0], napi_int32_array,
                                                        "expected tokens, an Int32Array");
    sampler_->accept(tokens.Data(), tokens.ElementLength());
    return info.Env().Undefined();
  });
}

Napi::Value SamplerWrap::sample(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return sample_to_js(info.Env(), sampler_->sample(checked_logits(info[0])));
  });
}

Napi::Value SamplerWrap::sample_many(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const float* logits = checked_logits(info[0]);
    const uint32_t count = info[1].As<Napi::Number>().Uint32Value();
    auto tokens = Napi::Int32Array::New(info.Env(), count);
    sampler_->sample_many(logits, tokens.Data(), count);
    return tokens;
  });
}

const float* SamplerWrap::checked_logits(const Napi::Value& value) const {
  const auto logits = checked_array<Napi::Float32Array>(value, napi_float32_array,
                                                        "expected logits, a Float32Array");
  if (logits.ElementLength() != static_cast<size_t>(sampler_->vocab_size())) {
    throw Error(ErrorCode::kInvalidArgument, "expected one logit for each token of the vocabulary");
  }
  return logits.Data();
}

}  // namespace openelm
