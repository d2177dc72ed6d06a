#pragma once

#include <napi.h>

#include <optional>

#include "addon_data.h"

namespace openelm {

// NativeSession of lib/native.ts. While a request is under way the object keeps itself alive.
//
// A sample that goes on is followed by the request for the token after it, which the scheduler's
// thread submits as soon as it knows the token, so that the model works on while JavaScript takes
// what it has drawn. The next sample() takes that request over.
class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static void init(Napi::Env env);
  static Napi::Value create(Napi::Env env, std::shared_ptr<Engine> engine,
                            std::shared_ptr<KvCache> cache);

  explicit SessionWrap(const Napi::CallbackInfo& info);

 private:
  using ToValue = std::function<Napi::Value(Napi::Env env, Request& request)>;

  Napi::Value position(const Napi::CallbackInfo& info);
  Napi::Value context_length(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value when_idle(const Napi::CallbackInfo& info);
  Napi::Value rewind(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  struct Call {
    Napi::Promise::Deferred deferred;
    ToValue to_value;
  };

  KvCache& idle_cache() const;  // throws kDisposed or kBusy
  std::shared_ptr<Request> new_request(const Napi::Value& tokens) const;
  Napi::Value submit(Napi::Env env, std::shared_ptr<Request> request, ToValue to_value);
  Napi::Value wait_for(Napi::Env env, std::shared_ptr<Request> request, ToValue to_value);
  void on_end(Napi::Env env, const std::shared_ptr<Request>& ended, std::shared_ptr<Request> next);
  void cancel(Napi::Env env, const Error& reason);

  // Any thread. Null when there is no token after the request's, or no cache any more.
  std::shared_ptr<Request> begin_next(const Request& request, std::shared_ptr<KvCache> cache) const;
  bool is_next(const Napi::CallbackInfo& info) const;
  Napi::Value take_next(const Napi::CallbackInfo& info);
  void set_next(std::shared_ptr<Request> next);
  void discard_next();

  const std::shared_ptr<Engine> engine_;
  std::shared_ptr<KvCache> cache_;    // null once disposed
  std::shared_ptr<Request> request_;  // the one under way that was asked for
  Napi::ObjectReference logits_;      // where its logits go
  std::optional<Call> call_;       // that waits for it; a cancelled one is settled before it ends
  std::shared_ptr<Request> next_;  // the one begun ahead
  bool next_has_ended_ = false;
  bool next_is_unwanted_ = false;
  std::optional<int> rewind_to_;  // where a cancelled call began, until the session is idle
  std::vector<Napi::Promise::Deferred> waiting_;  // of when_idle()
};

}  // namespace openelm
