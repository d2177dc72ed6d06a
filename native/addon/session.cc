#include "session.h"

#include <utility>

#include "sampler.h"

namespace openelm {

// Tokens drawn before JavaScript asks for them, so that the model works on while it takes the last.
static constexpr int kAhead = 1;

namespace {

struct NewSession {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Stream> stream;
};

NewSession& new_session(const Napi::CallbackInfo& info) {
  return *info[0].As<Napi::External<NewSession>>().Data();
}

Stream::Tokens tokens_of(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    throw Error(ErrorCode::kInvalidArgument, "expected tokens, an Int32Array");
  }
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.ElementLength()};
}

}  // namespace

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

Napi::Value SessionWrap::create(Napi::Env env, std::shared_ptr<Engine> engine,
                                std::shared_ptr<Stream> stream) {
  NewSession session{std::move(engine), std::move(stream)};
  return AddonData::of(env).session_class.New({Napi::External<NewSession>::New(env, &session)});
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      engine_(new_session(info).engine),
      stream_(new_session(info).stream),
      notice_(std::make_shared<Notice>(AddonData::of(info.Env()),
                                       [this](Napi::Env env) { on_notice(env); })) {
  stream_->notify = {[](void* notice) noexcept { static_cast<Notice*>(notice)->post(); }, notice_};
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

Napi::Value SessionWrap::wait(Napi::Env env) {
  call_ = Napi::Promise::Deferred::New(env);
  tidy(env);
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
    settle(env, call, error, [&](Napi::Env env) -> Napi::Value {
      if (const auto* sample = std::get_if<Sample>(&*result)) return sample_to_js(env, *sample);
      if (const auto* scores = std::get_if<Scores>(&*result)) return scores_to_js(env, *scores);
      return logits_.Value();
    });
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
  if (keep_alive) {
    Ref();
    AddonData::of(env).begin_work(env);
  } else {
    Unref();
    AddonData::of(env).end_work(env);
  }
}

// Nobody waits for a batch that other sessions need: the session is busy until then, but its caller
// is told now.
void SessionWrap::reject(Napi::Env env, const Error& reason) {
  if (const auto call = std::exchange(call_, std::nullopt)) {
    call->Reject(make_js_error(env, reason.code, reason.what()).Value());
  }
  tidy(env);
}

Napi::Value SessionWrap::logits(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const auto tokens = tokens_of(info[0]);
    const bool all = info[1].As<Napi::Boolean>();
    stream_->check(tokens);
    const size_t rows = all ? tokens.size() : 1;
    const auto logits = new_array(env, "Float32Array", rows * size_t(engine_->config().vocab_size));
    stream_->append(tokens, logits.As<Napi::Float32Array>().Data(), all);
    logits_ = Napi::Persistent(logits);
    return wait(env);
  });
}

Napi::Value SessionWrap::sample(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const bool goes_on = info[2].As<Napi::Boolean>();
    stream_->draw(tokens_of(info[0]), SamplerWrap::from(info[1]), goes_on ? kAhead : 0);
    return wait(info.Env());
  });
}

Napi::Value SessionWrap::scores(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    stream_->score(tokens_of(info[0]), info[1].As<Napi::Number>(), info[2].As<Napi::Number>());
    return wait(info.Env());
  });
}

Napi::Value SessionWrap::cancel(const Napi::CallbackInfo& info) {
  stream_->stop();
  reject(info.Env(), Error(ErrorCode::kAborted, "aborted"));
  return info.Env().Undefined();
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
  return guarded(info.Env(),
                 [&] { return create(info.Env(), engine_, engine_->fork_stream(*stream_)); });
}

Napi::Value SessionWrap::dispose(const Napi::CallbackInfo& info) {
  stream_->dispose();
  reject(info.Env(), Error(ErrorCode::kDisposed, "the session was disposed"));
  return info.Env().Undefined();
}

}  // namespace openelm
