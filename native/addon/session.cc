#include "session.h"

#include <utility>

#include "arguments.h"
#include "sampler.h"

namespace openelm {

// Tokens drawn before JavaScript asks for them, so that the model works on while it takes the last.
static constexpr int kAhead = 1;

void SessionWrap::init(Napi::Env env) {
  AddonData::of(env).session_class = Napi::Persistent(
      DefineClass(env, "Session",
                  {
                      InstanceAccessor<&SessionWrap::position>("position"),
                      InstanceAccessor<&SessionWrap::context_length>("contextLength"),
                      InstanceMethod<&SessionWrap::logits>("logits"),
                      InstanceMethod<&SessionWrap::sample>("sample"),
                      InstanceMethod<&SessionWrap::scores>("scores"),
                      InstanceMethod<&SessionWrap::cancel>("cancel"),
                      InstanceMethod<&SessionWrap::when_idle>("whenIdle"),
                      InstanceMethod<&SessionWrap::rewind>("rewind"),
                      InstanceMethod<&SessionWrap::fork>("fork"),
                      InstanceMethod<&SessionWrap::dispose>("dispose"),
                  }));
}

Napi::Value SessionWrap::create(Napi::Env env, std::shared_ptr<Engine> engine, int length) {
  return AddonData::of(env).session_class.New(
      {Napi::External<std::shared_ptr<Engine>>::New(env, &engine), Napi::Number::New(env, length)});
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      engine_(*info[0].As<Napi::External<std::shared_ptr<Engine>>>().Data()),
      stream_(
          guarded(info.Env(), [&] { return engine_->create_stream(info[1].As<Napi::Number>()); })) {
  notice_ = std::make_shared<Notice>(AddonData::of(info.Env()),
                                     [this](Napi::Env env) { on_notice(env); });
  stream_->listener = notice_;
}

SessionWrap::~SessionWrap() {
  notice_->run = nullptr;
  stream_->dispose();
}

Napi::Value SessionWrap::position(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), stream_->position());
}

Napi::Value SessionWrap::context_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), stream_->context_length());
}

Napi::Value SessionWrap::wait(const Napi::CallbackInfo& info) {
  call_ = Napi::Promise::Deferred::New(info.Env());
  tidy(info.Env());
  return call_->Promise();
}

// Of the event loop, which turns even where tokens are drawn faster than they are taken.
void SessionWrap::on_notice(Napi::Env env) {
  std::optional<Stream::Result> result;
  std::exception_ptr error;
  try {
    if (call_) result = stream_->take();
  } catch (...) {
    error = std::current_exception();
  }
  if (result || error) {
    const auto call = *std::exchange(call_, std::nullopt);
    settle(env, call, error,
           [&](Napi::Env env) { return result_to_js(env, *result, logits_.Value()); });
  }
  if (!call_ && !waiting_.empty()) stream_->stop();
  tidy(env);
}

void SessionWrap::tidy(Napi::Env env) {
  if (stream_->is_idle()) {
    logits_.Reset();
    for (const auto& waiting : std::exchange(waiting_, {})) waiting.Resolve(env.Undefined());
  }
  const bool keep_alive = call_ || !waiting_.empty() || !logits_.IsEmpty();
  if (keep_alive == std::exchange(is_kept_alive_, keep_alive)) return;
  keep_alive ? Ref() : Unref();
  keep_alive ? AddonData::of(env).begin_work(env) : AddonData::of(env).end_work(env);
}

Napi::Value SessionWrap::logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto tokens = int32s(info[0]);
    const bool all = info[1].As<Napi::Boolean>();
    stream_->check(tokens);
    const size_t size = (all ? tokens.size() : 1) * size_t(engine_->config().vocab_size);
    const auto logits = new_array(info.Env(), "Float32Array", size);
    stream_->append(tokens, logits.As<Napi::Float32Array>().Data(), all);
    logits_ = Napi::Persistent(logits);
    return wait(info);
  });
}

Napi::Value SessionWrap::sample(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int ahead = info[2].As<Napi::Boolean>() ? kAhead : 0;
    stream_->draw(int32s(info[0]), SamplerWrap::from(info[1]), ahead);
    return wait(info);
  });
}

Napi::Value SessionWrap::scores(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    stream_->score(int32s(info[0]), info[1].As<Napi::Number>(), info[2].As<Napi::Number>());
    return wait(info);
  });
}

// Nobody waits for a batch that other sessions need: the session is busy until then, but its caller
// is told now.
Napi::Value SessionWrap::give_up(const Napi::CallbackInfo& info, ErrorCode code, const char* why) {
  return guarded(info.Env(), [&] {
    stream_->stop();
    const auto call = std::exchange(call_, std::nullopt);
    if (call) call->Reject(make_js_error(info.Env(), code, why).Value());
    tidy(info.Env());
    return info.Env().Undefined();
  });
}

Napi::Value SessionWrap::cancel(const Napi::CallbackInfo& info) {
  return give_up(info, ErrorCode::kAborted, "aborted");
}

Napi::Value SessionWrap::dispose(const Napi::CallbackInfo& info) {
  stream_->dispose();
  return give_up(info, ErrorCode::kDisposed, "the session was disposed");
}

Napi::Value SessionWrap::when_idle(const Napi::CallbackInfo& info) {
  waiting_.push_back(Napi::Promise::Deferred::New(info.Env()));
  const auto promise = waiting_.back().Promise();
  if (!call_) stream_->stop();
  tidy(info.Env());
  return promise;
}

Napi::Value SessionWrap::rewind(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    stream_->rewind(info[0].As<Napi::Number>());
    return info.Env().Undefined();
  });
}

Napi::Value SessionWrap::fork(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    stream_->check_idle();
    const Napi::Value fork = create(info.Env(), engine_, stream_->context_length());
    Unwrap(fork.As<Napi::Object>())->stream_->copy(*stream_);
    return fork;
  });
}

}  // namespace openelm
