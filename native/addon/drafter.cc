#include "drafter.h"

#include <algorithm>

#include "../model/prompt_lookup.h"
#include "addon_data.h"

namespace openelm {

// Tells drafters from the other objects that wrap a pointer, as of samplers.
static constexpr napi_type_tag kDrafterTag = {0x6f70656e656c6d44, 0x7261667465720001};

static Napi::Value prompt_lookup(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int num_draft_tokens = info[0].As<Napi::Number>();
    return DrafterWrap::create(info.Env(), std::make_shared<PromptLookup>(num_draft_tokens));
  });
}

void DrafterWrap::init(Napi::Env env, Napi::Object exports) {
  AddonData::of(env).drafter_class =
      Napi::Persistent(DefineClass(env, "Drafter",
                                   {
                                       InstanceMethod<&DrafterWrap::start>("start"),
                                       InstanceMethod<&DrafterWrap::dispose>("dispose"),
                                   }));
  exports.Set("promptLookup", Napi::Function::New<prompt_lookup>(env, "promptLookup"));
}

Napi::Value DrafterWrap::create(Napi::Env env, std::shared_ptr<Drafter> drafter) {
  const auto external = Napi::External<std::shared_ptr<Drafter>>::New(env, &drafter);
  return AddonData::of(env).drafter_class.New({external});
}

std::shared_ptr<Drafter> DrafterWrap::from(const Napi::Value& value) {
  if (value.IsUndefined()) return nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kDrafterTag)) {
    throw Error(ErrorCode::kInvalidArgument, "expected a drafter");
  }
  return Unwrap(value.As<Napi::Object>())->drafter_;
}

DrafterWrap::DrafterWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info), drafter_(*info[0].As<Napi::External<std::shared_ptr<Drafter>>>().Data()) {
  info.This().As<Napi::Object>().TypeTag(&kDrafterTag);
}

Napi::Value DrafterWrap::start(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    drafter_->start(int32s(info[0]));
    return info.Env().Undefined();
  });
}

Napi::Value DrafterWrap::dispose(const Napi::CallbackInfo& info) {
  drafter_->dispose();
  return info.Env().Undefined();
}

}  // namespace openelm
