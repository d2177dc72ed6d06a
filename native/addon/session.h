#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "addon_data.h"

namespace openelm {

// NativeSession of lib/native-session.ts: a stream, and the promises that wait for it. While there
// are any, the object keeps itself and the process alive.
class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static void init(Napi::Env env);
  static Napi::Value create(Napi::Env env, std::shared_ptr<Stream> stream);

  explicit SessionWrap(const Napi::CallbackInfo& info);
  ~SessionWrap() override { notice_->run = nullptr; }

 private:
  // What the promise of a call is resolved with, once the stream has given its answer.
  using ToJs = std::function<Napi::Value(Napi::Env, const Sample&)>;

  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value scores(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value when_idle(const Napi::CallbackInfo& info);
  Napi::Value rewind(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  template <int (Stream::*get)() const>
  Napi::Value number(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), (*stream_.*get)());
  }
  template <Napi::Value (SessionWrap::*method)(const Napi::CallbackInfo&)>
  Napi::Value guard(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*method)(info); });
  }
  Napi::Value wait(Napi::Env env, ToJs to_js);
  Napi::Value update(Napi::Env env, const std::optional<Stream::Result>& result = {});

  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Notice> notice_;  // of the stream
  std::optional<Napi::Promise::Deferred> call_;
  ToJs to_js_;                                    // of the call
  std::vector<Napi::Promise::Deferred> waiting_;  // of whenIdle()
  Napi::ObjectReference logits_;                  // where a job's go, until the stream is idle
  bool is_kept_alive_ = false;
};

}  // namespace openelm
