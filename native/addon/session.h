#pragma once

#include <napi.h>

#include <optional>

#include "addon_data.h"

namespace openelm {

// NativeSession of lib/native.ts. While a request is under way the object keeps itself alive.
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

  KvCache& idle_cache() const;  // throws kDisposed or kBusy
  std::shared_ptr<Request> new_request(const Napi::Value& tokens) const;
  Napi::Value submit(Napi::Env env, std::shared_ptr<Request> request, ToValue to_value);
  void cancel(Napi::Env env, const Error& reason);

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<KvCache> cache_;    // null once disposed
  std::shared_ptr<Request> request_;  // the one under way
  Napi::ObjectReference logits_;      // where its logits go
  // Of the request under way, until it is settled: a cancelled one is before it ends.
  std::optional<Napi::Promise::Deferred> deferred_;
  std::vector<Napi::Promise::Deferred> waiting_;  // of when_idle()
};

}  // namespace openelm
