#include "session.h"

#include <algorithm>
#include <utility>

#include "../model/scores.h"
#include "drafter.h"
#include "sampler.h"

namespace openelm {

// Tokens drawn before JavaScript asks for them, so that the model works on while it takes the last.
static constexpr int kAhead = 1;

void SessionWrap::init(Napi::Env env) {
  AddonData::of(env).session_class = Napi::Persistent(DefineClass(
      env, "Session",
      {
          InstanceAccessor<&SessionWrap::number<&Stream::position>>("position"),
          InstanceAccessor<&SessionWrap::number<&Stream::context_length>>("contextLength"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::logits>>("logits"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::sample>>("sample"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::scores>>("scores"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::cancel>>("cancel"),
          InstanceMethod<&SessionWrap::when_idle>("whenIdle"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::rewind>>("rewind"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::fork>>("fork"),
          InstanceMethod<&SessionWrap::guard<&SessionWrap::dispose>>("dispose"),
      }));
}

Napi::Value SessionWrap::create(Napi::Env env, std::shared_ptr<Stream> stream) {
  const auto external = Napi::External<std::shared_ptr<Stream>>::New(env, &stream);
  return AddonData::of(env).session_class.New({external});
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      stream_(*info[0].As<Napi::External<std::shared_ptr<Stream>>>().Data()),
      // Of the event loop, which turns even where tokens are drawn faster than they are taken.
      notice_(std::make_shared<Notice>(AddonData::of(info.Env()),
                                       [this](Napi::Env env) { update(env, stream_->take()); })) {
  stream_->notify = [notice = notice_] { notice->post(); };
}

Napi::Value SessionWrap::wait(Napi::Env env, ToJs to_js) {
  call_ = Napi::Promise::Deferred::New(env);
  to_js_ = std::move(to_js);
  update(env);
  return call_->Promise();
}

// Settles what can be settled now: the call by its result, if that is given.
Napi::Value SessionWrap::update(Napi::Env env, const std::optional<Stream::Result>& result) {
  if (call_ && result) {
    const auto call = *std::exchange(call_, std::nullopt);
    settle(env, call, result->error, [&](Napi::Env env) { return to_js_(env, result->sample); });
  }
  if (!call_ && !waiting_.empty()) stream_->stop();
  if ((!logits_.IsEmpty() || !waiting_.empty()) && stream_->is_idle()) {
    logits_.Reset();
    for (const auto& waiting : std::exchange(waiting_, {})) waiting.Resolve(env.Undefined());
  }
  const bool keep_alive = call_ || !waiting_.empty() || !logits_.IsEmpty();
  if (keep_alive != std::exchange(is_kept_alive_, keep_alive)) {
    keep_alive ? Ref() : Unref();
    keep_alive ? AddonData::of(env).begin_work(env) : AddonData::of(env).end_work(env);
  }
  return env.Undefined();
}

Napi::Value SessionWrap::logits(const Napi::CallbackInfo& info) {
  const auto tokens = int32s(info[0]);
  const int size = int(tokens.size());
  const int first_row = info[1].As<Napi::Boolean>() ? 0 : size - 1;
  const size_t count = size_t(size - first_row) * size_t(stream_->vocab_size());
  const auto array = new_array(info.Env(), "Float32Array", count);
  float* const to = array.As<Napi::Float32Array>().Data();
  stream_->append(tokens, first_row, size, [=](int row, std::span<const float> logits) {
    std::copy(logits.begin(), logits.end(), to + (row - first_row) * logits.size());
  });
  logits_ = Napi::Persistent(array);
  return wait(info.Env(), [this](Napi::Env, const Sample&) { return logits_.Value(); });
}

Napi::Value SessionWrap::sample(const Napi::CallbackInfo& info) {
  const auto drafter = DrafterWrap::from(info[4]);
  const int goes_on = info[2].As<Napi::Boolean>() ? kAhead : 0;
  // So many that a draft can be checked while JavaScript takes what the last one has come to.
  const int most = drafter ? 2 * drafter->num_draft_tokens() + kAhead : goes_on;
  const int ahead = drafter ? std::min<int>(info[5].As<Napi::Number>(), most) : goes_on;
  stream_->draw(int32s(info[0]), SamplerWrap::from(info[1]), ahead,
                to_mask(info[3], stream_->vocab_size()), drafter);
  return wait(info.Env(), sample_to_js);
}

Napi::Value SessionWrap::scores(const Napi::CallbackInfo& info) {
  const int top = info[3].As<Napi::Number>();
  const auto scores = score(*stream_, int32s(info[0]), int32s(info[1]), int32s(info[2]), top);
  return wait(info.Env(), [scores](Napi::Env env, const Sample&) {
    auto result = Napi::Object::New(env);
    result.Set("logprobs", to_array(env, scores->logprobs));
    result.Set("topTokens", to_array(env, scores->top_tokens));
    result.Set("topLogprobs", to_array(env, scores->top_logprobs));
    return result;
  });
}

// Nobody waits for a batch that other sessions need: the session is busy until then, but its caller
// is told now.
Napi::Value SessionWrap::cancel(const Napi::CallbackInfo& info) {
  stream_->stop();
  const Error error(ErrorCode::kAborted, "aborted");
  return update(info.Env(), Stream::Result{{}, std::make_exception_ptr(error)});
}

Napi::Value SessionWrap::dispose(const Napi::CallbackInfo& info) {
  stream_->dispose();
  const Error error(ErrorCode::kDisposed, "the session was disposed");
  return update(info.Env(), Stream::Result{{}, std::make_exception_ptr(error)});
}

Napi::Value SessionWrap::when_idle(const Napi::CallbackInfo& info) {
  waiting_.push_back(Napi::Promise::Deferred::New(info.Env()));
  const auto promise = waiting_.back().Promise();
  update(info.Env());
  return promise;
}

Napi::Value SessionWrap::rewind(const Napi::CallbackInfo& info) {
  stream_->rewind(info[0].As<Napi::Number>());
  return info.Env().Undefined();
}

Napi::Value SessionWrap::fork(const Napi::CallbackInfo& info) {
  return create(info.Env(), stream_->fork());
}

}  // namespace openelm
