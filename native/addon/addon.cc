#include "addon_data.h"
#include "sampler.h"

namespace openelm {

static Napi::Value initialize(const Napi::CallbackInfo& info) {
  auto* data = info.Env().GetInstanceData<AddonData>();
  data->error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());
  exports.Set("initialize", Napi::Function::New(env, initialize));
  SamplerWrap::init(env, exports);
  return exports;
}

}  // namespace openelm

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) {
  return openelm::init(env, exports);
}

NODE_API_MODULE(openelm, init_addon)
