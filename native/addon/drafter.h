#pragma once

#include <napi.h>

#include <memory>

#include "../model/drafter.h"

namespace openelm {

// NativeDrafter of lib/native-session.ts.
class DrafterWrap : public Napi::ObjectWrap<DrafterWrap> {
 public:
  static void init(Napi::Env env, Napi::Object exports);
  static Napi::Value create(Napi::Env env, std::shared_ptr<Drafter> drafter);

  // Null where the value is undefined. Throws kInvalidArgument when it is no drafter either.
  static std::shared_ptr<Drafter> from(const Napi::Value& value);

  explicit DrafterWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<Drafter> drafter_;
};

}  // namespace openelm
