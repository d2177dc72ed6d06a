#include "session.h"

#include <utility>

#include "sampler.h"

namespace openelm {

namespace {

struct NewSession {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<KvCache> cache;
};

bool is_int32_array(const Napi::Value& value) {
  return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array;
}

Napi::Value drawn_to_js(Napi::Env env, Request& request) {
  return sample_to_js(env, request.sample);
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
                      InstanceMethod<&SessionWrap::score>("score"),
                      InstanceMethod<&SessionWrap::cancel>("cancel"),
                      InstanceMethod<&SessionWrap::when_idle>("whenIdle"),
                      InstanceMethod<&SessionWrap::rewind>("rewind"),
                      InstanceMethod<&SessionWrap::fork>("fork"),
                      InstanceMethod<&SessionWrap::dispose>("dispose"),
                  }));
}

Napi::Value SessionWrap::create(Napi::Env env, std::shared_ptr<Engine> engine,
                                std::shared_ptr<KvCache> cache) {
  NewSession session{std::move(engine), std::move(cache)};
  return AddonData::of(env).session_class.New({Napi::External<NewSession>::New(env, &session)});
}

static NewSession& new_session(const Napi::CallbackInfo& info) {
  return *info[0].As<Napi::External<NewSession>>().Data();
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info), engine_(new_session(info).engine), cache_(new_session(info).cache) {}

Napi::Value SessionWrap::position(const Napi::CallbackInfo& info) {
  const int position = !cache_ ? 0 : next_ ? next_->start : cache_->position.load();
  return Napi::Number::New(info.Env(), position);
}

Napi::Value SessionWrap::context_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), cache_ ? cache_->context_length() : 0);
}

KvCache& SessionWrap::idle_cache() const {
  if (!cache_) throw Error(ErrorCode::kDisposed, "the session is disposed");
  if (request_ || next_) throw Error(ErrorCode::kBusy, "the session already has a call under way");
  return *cache_;
}

std::shared_ptr<Request> SessionWrap::new_request(const Napi::Value& value) const {
  const KvCache& cache = idle_cache();
  if (!is_int32_array(value)) {
    throw Error(ErrorCode::kInvalidArgument, "expected tokens, an Int32Array");
  }
  const auto tokens = value.As<Napi::Int32Array>();
  const size_t count = tokens.ElementLength();
  if (count == 0) throw Error(ErrorCode::kInvalidArgument, "expected at least one token");
  for (size_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] >= engine_->config().vocab_size) {
      throw Error(ErrorCode::kInvalidArgument,
                  "token " + std::to_string(tokens[i]) + " is not in the vocabulary");
    }
  }
  if (count > size_t(cache.context_length() - cache.position)) {
    throw Error(ErrorCode::kContextOverflow,
                std::to_string(count) + " tokens at position " + std::to_string(cache.position) +
                    " do not fit in a context of " + std::to_string(cache.context_length()));
  }
  auto request = std::make_shared<Request>();
  request->cache = cache_;
  request->tokens.assign(tokens.Data(), tokens.Data() + count);
  return request;
}

Napi::Value SessionWrap::submit(Napi::Env env, std::shared_ptr<Request> request, ToValue to_value) {
  AddonData* data = &AddonData::of(env);
  request->done = [=, this, weak = std::weak_ptr(cache_)](std::shared_ptr<Request> ended) {
    // Nothing here holds the cache any more when JavaScript is told: see Scheduler::finish().
    const auto next = ended->goes_on ? begin_next(*ended, weak.lock()) : nullptr;
    data->post([=, this](Napi::Env env) { on_end(env, ended, next); });
  };
  engine_->submit(request);
  Ref();
  return wait_for(env, std::move(request), std::move(to_value));
}

Napi::Value SessionWrap::wait_for(Napi::Env env, std::shared_ptr<Request> request,
                                  ToValue to_value) {
  request_ = std::move(request);
  call_ = {Napi::Promise::Deferred::New(env), std::move(to_value)};
  AddonData::of(env).begin_work(env);
  return call_->deferred.Promise();
}

void SessionWrap::on_end(Napi::Env env, const std::shared_ptr<Request>& ended,
                         std::shared_ptr<Request> next) {
  std::optional<Call> call;
  if (ended == request_) {
    request_ = nullptr;
    call = std::exchange(call_, std::nullopt);
    // It may have ended before it was told to go on.
    if (!next && call && ended->goes_on) next = begin_next(*ended, cache_);
    set_next(std::move(next));
    if (!call) discard_next();
    AddonData::of(env).end_work(env);
  } else {
    next_has_ended_ = true;
    if (next_is_unwanted_) discard_next();
  }
  if (call) {
    settle(env, call->deferred, ended->error,
           [&](Napi::Env env) { return call->to_value(env, *ended); });
  }
  logits_.Reset();
  if (!request_ && !next_) {
    const auto position = std::exchange(rewind_to_, std::nullopt);
    if (position && cache_) cache_->position = *position;
    for (const auto& waiting : std::exchange(waiting_, {})) {
      waiting.Resolve(env.Undefined());
      AddonData::of(env).end_work(env);
    }
  }
  Unref();
}

// Nobody waits for a batch that other sessions need: the session is busy until then, but its caller
// is told now.
void SessionWrap::cancel(Napi::Env env, const Error& reason) {
  discard_next();
  if (!request_) return;
  engine_->cancel(*request_);
  rewind_to_ = request_->start;  // it may have ended already, unheard
  const auto call = std::exchange(call_, std::nullopt);
  if (call) call->deferred.Reject(make_js_error(env, reason.code, reason.what()).Value());
}

std::shared_ptr<Request> SessionWrap::begin_next(const Request& request,
                                                 std::shared_ptr<KvCache> cache) const {
  if (!cache || request.error || cache->position == cache->context_length()) return nullptr;
  auto next = std::make_shared<Request>();
  next->cache = std::move(cache);
  next->tokens = {request.sample.token};
  next->output = Request::Output::kSample;
  next->sampler = request.sampler;
  next->done = request.done;
  try {
    engine_->submit(next);
  } catch (const Error&) {
    return nullptr;  // the model is disposed, which the next call will find out
  }
  return next;
}

void SessionWrap::set_next(std::shared_ptr<Request> next) {
  next_ = std::move(next);
  next_has_ended_ = false;
  next_is_unwanted_ = false;
  if (next_) Ref();
}

bool SessionWrap::is_next(const Napi::CallbackInfo& info) const {
  if (!next_ || next_is_unwanted_ || !is_int32_array(info[0])) return false;
  if (SamplerWrap::from(info[1]) != next_->sampler) return false;
  const auto tokens = info[0].As<Napi::Int32Array>();
  return tokens.ElementLength() == 1 && tokens[0] == next_->tokens[0];
}

Napi::Value SessionWrap::take_next(const Napi::CallbackInfo& info) {
  const auto next = std::exchange(next_, nullptr);
  next->goes_on = info[2].As<Napi::Boolean>();
  const auto promise = wait_for(info.Env(), next, drawn_to_js);
  if (next_has_ended_) {
    // By the event loop, which must turn even where tokens are drawn faster than they are taken.
    Ref();
    AddonData::of(info.Env()).post([=, this](Napi::Env env) { on_end(env, next, nullptr); });
  }
  return promise;
}

// Makes the session what it was before the token that nobody asked for.
void SessionWrap::discard_next() {
  if (!next_) return;
  next_is_unwanted_ = true;
  if (!next_has_ended_) return engine_->cancel(*next_);
  if (cache_) cache_->position = next_->start;
  next_ = nullptr;
}

Napi::Value SessionWrap::logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto request = new_request(info[0]);
    request->output = Request::Output::kLogits;
    request->all_logits = info[1].As<Napi::Boolean>();
    const size_t rows = request->all_logits ? request->tokens.size() : 1;
    const size_t size = rows * size_t(engine_->config().vocab_size);
    auto logits = new_array(info.Env(), "Float32Array", size).As<Napi::Float32Array>();
    request->logits = logits.Data();
    logits_ = Napi::Persistent(logits.As<Napi::Object>());
    return submit(info.Env(), request, [this](Napi::Env, Request&) { return logits_.Value(); });
  });
}

Napi::Value SessionWrap::sample(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (is_next(info)) return take_next(info);
    auto request = new_request(info[0]);
    request->output = Request::Output::kSample;
    request->sampler = SamplerWrap::from(info[1]);
    request->goes_on = info[2].As<Napi::Boolean>();
    if (request->sampler->vocab_size() != engine_->config().vocab_size) {
      throw Error(ErrorCode::kInvalidArgument, "the sampler is for another vocabulary");
    }
    return submit(info.Env(), request, drawn_to_js);
  });
}

Napi::Value SessionWrap::score(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto request = new_request(info[0]);
    request->output = Request::Output::kScore;
    request->first_target = info[1].As<Napi::Number>().Int32Value();
    if (request->first_target < 1 || request->first_target > int(request->tokens.size())) {
      throw Error(ErrorCode::kInvalidArgument, "expected a first target after the first token");
    }
    return submit(info.Env(), request, [](Napi::Env env, Request& done) -> Napi::Value {
      auto result = Napi::Object::New(env);
      result.Set("logprob", done.logprob);
      result.Set("isGreedy", done.is_greedy);
      return result;
    });
  });
}

Napi::Value SessionWrap::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    cancel(info.Env(), Error(ErrorCode::kAborted, "aborted"));
    return info.Env().Undefined();
  });
}

Napi::Value SessionWrap::when_idle(const Napi::CallbackInfo& info) {
  const auto deferred = Napi::Promise::Deferred::New(info.Env());
  discard_next();
  if (request_ || next_) {
    waiting_.push_back(deferred);
    AddonData::of(info.Env()).begin_work(info.Env());
  } else {
    deferred.Resolve(info.Env().Undefined());
  }
  return deferred.Promise();
}

Napi::Value SessionWrap::rewind(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    KvCache& cache = idle_cache();
    const int position = info[0].As<Napi::Number>().Int32Value();
    if (position < 0 || position > cache.position) {
      throw Error(ErrorCode::kInvalidArgument,
                  "expected a position from 0 to " + std::to_string(cache.position));
    }
    cache.position = position;
    return info.Env().Undefined();
  });
}

Napi::Value SessionWrap::fork(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle_cache();
    return create(info.Env(), engine_, engine_->fork_cache(cache_));
  });
}

// A request under way keeps the cache until it ends.
Napi::Value SessionWrap::dispose(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    cancel(info.Env(), Error(ErrorCode::kDisposed, "the session was disposed"));
    cache_ = nullptr;
    return info.Env().Undefined();
  });
}

}  // namespace openelm
