#pragma once

#include <napi.h>

#include <memory>

#include "../model/sampler.h"

namespace openelm {

// NativeSampler of lib/native.ts.
class SamplerWrap : public Napi::ObjectWrap<SamplerWrap> {
 public:
  static void init(Napi::Env env, Napi::Object exports);

  // Throws kInvalidArgument when the value is anything but a sampler.
  static std::shared_ptr<Sampler> from(const Napi::Value& value);

  explicit SamplerWrap(const Napi::CallbackInfo& info);

 private:
  static Napi::Value exp(const Napi::CallbackInfo& info);
  Napi::Value accept(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value sample_many(const Napi::CallbackInfo& info);
  const float* checked_logits(const Napi::Value& value) const;

  std::shared_ptr<Sampler> sampler_;
};

// NativeSample of lib/native.ts.
Napi::Object sample_to_js(Napi::Env env, const Sample& sample);

}  // namespace openelm
