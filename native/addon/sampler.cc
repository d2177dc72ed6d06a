#include "sampler.h"

#include <algorithm>

#include "addon_data.h"
#include "arguments.h"
#include "constraint.h"

namespace openelm {

// Tells samplers from the other objects that wrap a pointer: Unwrap alone would confuse them.
static constexpr napi_type_tag kTypeTag = {0x6f70656e656c6d53, 0x616d706c65720001};

static SamplerOptions read_options(const Napi::Object& options) {
  bool lossless = false;
  SamplerOptions result;
  result.temperature = number(options, "temperature");
  result.top_k = int64(options, "topK");
  result.top_p = number(options, "topP");
  result.min_p = number(options, "minP");
  result.repetition_penalty = number(options, "repetitionPenalty");
  result.repetition_context_size = int64(options, "repetitionContextSize");
  result.presence_penalty = number(options, "presencePenalty");
  result.frequency_penalty = number(options, "frequencyPenalty");
  const auto tokens = int32s(options.Get("biasedTokens"), "biasedTokens");
  const auto biases = float32s(options.Get("biases"), "biases");
  for (size_t i = 0; i < std::min(tokens.size(), biases.size()); ++i) {
    result.logit_bias.emplace_back(tokens[i], biases[i]);
  }
  result.seed = options.Get("seed").As<Napi::BigInt>().Uint64Value(&lossless);
  result.logprobs = int64(options, "logprobs");
  return result;
}

std::shared_ptr<TokenMask> to_mask(const Napi::Value& value, int vocab_size) {
  if (value.IsUndefined()) return nullptr;
  if (auto text = ConstrainedTextWrap::from(value, vocab_size)) return text;
  const bool is_array =
      value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint32_array;
  const auto words = is_array ? value.As<Napi::Uint32Array>() : Napi::Uint32Array();
  if (!is_array || words.ElementLength() != (static_cast<size_t>(vocab_size) + 31) / 32) {
    throw Error(ErrorCode::kInvalidArgument, "expected a mask with a bit for each token");
  }
  return std::make_shared<TokenBits>(
      std::vector<uint32_t>(words.Data(), words.Data() + words.ElementLength()));
}

Napi::Object sample_to_js(Napi::Env env, const Sample& sample) {
  auto result = Napi::Object::New(env);
  result.Set("token", sample.token);
  if (sample.is_last) result.Set("isLast", true);
  if (sample.is_drafted) result.Set("isDrafted", true);
  if (sample.top_tokens.empty()) return result;
  result.Set("logprob", sample.logprob);
  result.Set("topTokens", to_array(env, sample.top_tokens));
  result.Set("topLogprobs", to_array(env, sample.top_logprobs));
  return result;
}

void SamplerWrap::init(Napi::Env env, Napi::Object exports) {
  exports.Set("Sampler", DefineClass(env, "Sampler",
                                     {
                                         InstanceMethod("accept", &SamplerWrap::accept),
                                         InstanceMethod("sample", &SamplerWrap::sample),
                                     }));
}

const std::shared_ptr<Sampler>& SamplerWrap::from(const Napi::Value& value) {
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

Sampler& SamplerWrap::idle() const {
  if (sampler_.use_count() > 1) throw Error(ErrorCode::kBusy, "a session draws with the sampler");
  return *sampler_;
}

Napi::Value SamplerWrap::accept(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto tokens = int32s(info[0]);
    idle().accept(tokens.data(), tokens.size());
    return info.Env().Undefined();
  });
}

Napi::Value SamplerWrap::sample(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto logits = float32s(info[0], "logits");
    if (logits.size() != static_cast<size_t>(sampler_->vocab_size())) {
      throw Error(ErrorCode::kInvalidArgument,
                  "expected one logit for each token of the vocabulary");
    }
    const auto mask = to_mask(info[1], sampler_->vocab_size());
    return sample_to_js(info.Env(), idle().sample(logits.data(), mask.get()));
  });
}

}  // namespace openelm
