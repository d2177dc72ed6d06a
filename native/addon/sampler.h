#pragma once

#include <napi.h>

#include <memory>

#include "../model/sampler.h"

namespace openelm {

// NativeSampler of lib/native-session.ts.
class SamplerWrap : public Napi::ObjectWrap<SamplerWrap> {
 public:
  static void init(Napi::Env env, Napi::Object exports);

  // Throws kInvalidArgument when the value is anything but a sampler.
  static const std::shared_ptr<Sampler>& from(const Napi::Value& value);

  explicit SamplerWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value accept(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Sampler& idle() const;  // throws kBusy while a stream draws with it

  std::shared_ptr<Sampler> sampler_;
};

// A Uint32Array of words as a TokenBits, or what a ConstrainedText of lib/native-constraint.ts
// follows; null where the value is undefined. Throws kInvalidArgument unless it has a bit for each
// token.
std::shared_ptr<TokenMask> to_mask(const Napi::Value& value, int vocab_size);

// NativeSample of lib/native-session.ts.
Napi::Object sample_to_js(Napi::Env env, const Sample& sample);

}  // namespace openelm
