#pragma once

#include <napi.h>

#include <optional>

#include "addon_data.h"

namespace openelm {

// NativeSession of lib/native.ts: a stream, and the promises that wait for it. While there are any,
// the object keeps itself and the process alive.
class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static void init(Napi::Env env);
  static Napi::Value create(Napi::Env env, std::shared_ptr<Engine> engine, int context_length);

  explicit SessionWrap(const Napi::CallbackInfo& info);
  ~SessionWrap() override;

 private:
  Napi::Value position(const Napi::CallbackInfo& info);
  Napi::Value context_length(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value scores(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value when_idle(const Napi::CallbackInfo& info);
  Napi::Value rewind(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  Napi::Value wait(const Napi::CallbackInfo& info);  // for the job that has begun
  Napi::Value give_up(const Napi::CallbackInfo& info, ErrorCode code, const char* why);
  void on_notice(Napi::Env env);
  void tidy(Napi::Env env);

  const std::shared_ptr<Engine> engine_;
  const std::shared_ptr<Stream> stream_;
  std::shared_ptr<Notice> notice_;  // of the stream
  std::optional<Napi::Promise::Deferred> call_;
  std::vector<Napi::Promise::Deferred> waiting_;  // of whenIdle()
  Napi::ObjectReference logits_;                  // where a job's go, until the stream is idle
  bool is_kept_alive_ = false;
};

}  // namespace openelm
