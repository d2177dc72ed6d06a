#include "../simd/cpu_info.h"
#include "../simd/kernels.h"
#include "addon_data.h"
#include "checkpoint_tools.h"
#include "constraint.h"
#include "drafter.h"
#include "group.h"
#include "machine_speed.h"
#include "model.h"
#include "sampler.h"
#include "session.h"
#include "trainer.h"

namespace openelm {

static Napi::Value initialize(const Napi::CallbackInfo& info) {
  AddonData::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

static Napi::Value backends(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto list = Napi::Array::New(env);
    for (const BackendInfo& backend : list_backends()) {
      auto object = Napi::Object::New(env);
      object.Set("name", backend.name);
      object.Set("available", backend.available);
      if (backend.available) {
        object.Set("device", backend.device);
      } else {
        object.Set("reason", backend.reason);
      }
      list.Set(list.Length(), object);
    }
    return list;
  });
}

static Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CpuInfo& cpu = openelm::cpu_info();
  auto features = Napi::Array::New(env);
  for (const std::string& feature : cpu.features) features.Set(features.Length(), feature);
  auto object = Napi::Object::New(env);
  object.Set("kernels", cpu_kernels().name);
  object.Set("physicalCores", cpu.physical_cores);
  object.Set("features", features);
  return object;
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData(env));
  exports.Set("initialize", Napi::Function::New<initialize>(env, "initialize"));
  exports.Set("backends", Napi::Function::New<backends>(env, "backends"));
  exports.Set("cpuInfo", Napi::Function::New<cpu_info>(env, "cpuInfo"));
  init_checkpoint_tools(env, exports);
  init_machine_speed(env, exports);
  init_group(env, exports);
  init_constraints(env, exports);
  SamplerWrap::init(env, exports);
  DrafterWrap::init(env, exports);
  ModelWrap::init(env, exports);
  SessionWrap::init(env);
  TrainerWrap::init(env, exports);
  return exports;
}

}  // namespace openelm

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) {
  return openelm::init(env, exports);
}

NODE_API_MODULE(openelm, init_addon)
