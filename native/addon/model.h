#pragma once

#include <napi.h>

#include "addon_data.h"

namespace openelm {

// NativeModel of lib/native.ts.
class ModelWrap : public Napi::ObjectWrap<ModelWrap> {
 public:
  static void init(Napi::Env env, Napi::Object exports);

  explicit ModelWrap(const Napi::CallbackInfo& info);

 private:
  static Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value weight_bytes(const Napi::CallbackInfo& info);
  Napi::Value kv_cache_bytes(const Napi::CallbackInfo& info);
  Napi::Value load_adapter(const Napi::CallbackInfo& info);
  Napi::Value unload_adapter(const Napi::CallbackInfo& info);
  Napi::Value create_session(const Napi::CallbackInfo& info);
  Napi::Value create_drafter(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<Engine> engine_;
};

}  // namespace openelm
