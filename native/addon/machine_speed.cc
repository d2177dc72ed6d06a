#include "machine_speed.h"

#include <algorithm>

#include "../machine_speed.h"
#include "addon_data.h"

namespace openelm {

// measureMachine(threads): Promise<{ readBandwidth, floatPeak }>
static Napi::Value measure(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const int threads = std::clamp(info[0].As<Napi::Number>().Int32Value(), 1, 1024);
    const auto speed = std::make_shared<MachineSpeed>();
    return AddonData::of(env).run_in_background(
        env, [=] { *speed = measure_machine(threads); },
        [=](Napi::Env env) -> Napi::Value {
          auto object = Napi::Object::New(env);
          object.Set("readBandwidth", speed->read_bandwidth);
          object.Set("floatPeak", speed->float_peak);
          return object;
        },
        [] {});
  });
}

void init_machine_speed(Napi::Env env, Napi::Object exports) {
  exports.Set("measureMachine", Napi::Function::New<measure>(env, "measureMachine"));
}

}  // namespace openelm
