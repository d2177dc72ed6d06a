#include "model.h"

#include <algorithm>
#include <system_error>

#include "../model/draft_model.h"
#include "arguments.h"
#include "drafter.h"
#include "session.h"

namespace openelm {

void ModelWrap::init(Napi::Env env, Napi::Object exports) {
  AddonData::of(env).model_class =
      Napi::Persistent(DefineClass(env, "Model",
                                   {
                                       InstanceAccessor<&ModelWrap::device>("device"),
                                       InstanceAccessor<&ModelWrap::weight_bytes>("weightBytes"),
                                       InstanceAccessor<&ModelWrap::kv_cache_bytes>("kvCacheBytes"),
                                       InstanceMethod<&ModelWrap::load_adapter>("loadAdapter"),
                                       InstanceMethod<&ModelWrap::unload_adapter>("unloadAdapter"),
                                       InstanceMethod<&ModelWrap::create_session>("createSession"),
                                       InstanceMethod<&ModelWrap::create_drafter>("createDrafter"),
                                       InstanceMethod<&ModelWrap::dispose>("dispose"),
                                   }));
  exports.Set("load", Napi::Function::New<load>(env, "load"));
}

// new Model(external): the class is not exported, so only load() constructs one.
ModelWrap::ModelWrap(const Napi::CallbackInfo& info)
    : ObjectWrap(info), engine_(*info[0].As<Napi::External<std::shared_ptr<Engine>>>().Data()) {}

// Calls the function on the JavaScript thread, at most once for every whole percent.
static std::function<void(uint64_t, uint64_t)> progress_reporter(
    AddonData& data, std::weak_ptr<Napi::FunctionReference> function) {
  const auto last_percent = std::make_shared<std::atomic<uint64_t>>(0);
  return [=, &data](uint64_t loaded, uint64_t total) {
    const uint64_t percent = total == 0 ? 100 : loaded * 100 / total;
    uint64_t last = *last_percent;
    if (percent <= last || !last_percent->compare_exchange_strong(last, percent)) return;
    data.post([=](Napi::Env env) {
      if (percent < *last_percent) return;  // overtaken by the report of another thread
      if (const auto alive = function.lock()) {
        alive->Call(
            {Napi::Number::New(env, double(loaded)), Napi::Number::New(env, double(total))});
      }
    });
  };
}

// { promise: Promise<NativeModel>, cancel(): void }
Napi::Value ModelWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto object = info[0].As<Napi::Object>();
    const auto options = std::make_shared<LoadOptions>(read_load_options(object));
    const auto listed = object.Get("tensors").As<Napi::Array>();
    const bool map_files = boolean(object, "mmap");
    std::vector<TensorArguments> tensors;
    uint64_t total_bytes = 0;
    for (uint32_t i = 0; i < listed.Length(); ++i) {
      tensors.push_back(read_tensor(listed.Get(i).As<Napi::Object>()));
      total_bytes += tensors.back().tensor.bytes();
    }
    AddonData& data = AddonData::of(env);
    std::shared_ptr<Napi::FunctionReference> report;
    if (info[1].IsFunction()) {
      report =
          std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[1].As<Napi::Function>()));
    }
    const auto progress =
        std::make_shared<LoadProgress>(total_bytes, progress_reporter(data, report));
    const auto engine = std::make_shared<std::shared_ptr<Engine>>();

    const auto work = [=, tensors = std::move(tensors)] {
      options->tensors = open_tensors(tensors, map_files);
      *engine = load_engine(*options, *progress);
      options->tensors.clear();  // closes the files
    };
    const auto finish = [=](Napi::Env env) -> Napi::Value {
      AddonData& data = AddonData::of(env);
      data.watch(*engine);
      return data.model_class.New(
          {Napi::External<std::shared_ptr<Engine>>::New(env, engine.get())});
    };
    auto result = Napi::Object::New(env);
    result.Set("promise",
               data.run_in_background(env, work, finish, [=] { progress->cancel(); }, report));
    result.Set("cancel",
               Napi::Function::New(env, [=](const Napi::CallbackInfo&) { progress->cancel(); }));
    return result;
  });
}

Napi::Value ModelWrap::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), engine_->device());
}

Napi::Value ModelWrap::weight_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(engine_->weight_bytes()));
}

Napi::Value ModelWrap::kv_cache_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(engine_->kv_cache_bytes()));
}

// The arrays are read where they are, which takes no time of this thread.
Napi::Value ModelWrap::load_adapter(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto listed = info[0].As<Napi::Array>();
    const bool adapts_head = info[1].As<Napi::Boolean>();
    std::vector<AdapterTarget> targets;
    for (uint32_t i = 0; i < listed.Length(); ++i) {
      targets.push_back(read_adapter_target(listed.Get(i).As<Napi::Object>()));
    }
    const auto loaded = std::make_shared<Adapters::Loaded>();
    const auto work = [=, engine = engine_] {
      *loaded = engine->adapters().load(targets, adapts_head);
    };
    const auto finish = [=](Napi::Env env) -> Napi::Value {
      auto result = Napi::Object::New(env);
      result.Set("id", loaded->id);
      result.Set("bytes", double(loaded->bytes));
      return result;
    };
    // When the environment ends, the model does, and with it the load.
    return AddonData::of(env).run_in_background(
        env, work, finish, [] {},
        std::make_shared<Napi::ObjectReference>(Napi::Persistent(listed.As<Napi::Object>())));
  });
}

Napi::Value ModelWrap::unload_adapter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    engine_->adapters().unload(info[0].As<Napi::Number>().Int32Value());
    return info.Env().Undefined();
  });
}

static int read_context_length(const Napi::Value& value) {
  const int context_length = value.As<Napi::Number>().Int32Value();
  if (context_length >= 1 && context_length <= kMaxContextLength) return context_length;
  throw Error(ErrorCode::kInvalidArgument, "expected a context of 1 to 2^20 tokens");
}

Napi::Value ModelWrap::create_drafter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int num_draft_tokens = info[1].As<Napi::Number>();
    return DrafterWrap::create(
        info.Env(),
        std::make_shared<DraftModel>(*engine_, read_context_length(info[0]), num_draft_tokens));
  });
}

Napi::Value ModelWrap::create_session(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const int context_length = read_context_length(info[0]);
    const auto ids = int32s(info[1], "adapters");
    const auto scales = float32s(info[2], "scales");
    std::vector<Adapters::Part> parts;
    for (size_t i = 0; i < std::min(ids.size(), scales.size()); ++i) {
      parts.push_back({ids[i], scales[i]});
    }
    const auto adapter = engine_->adapters().find(parts);
    return SessionWrap::create(info.Env(), engine_->create_stream(context_length, adapter));
  });
}

// Ending the requests takes as long as an op, so that is left to a thread where one can be had:
// giving memory back must not fail for lack of it.
Napi::Value ModelWrap::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto engine = engine_;
    try {
      return AddonData::of(env).run_in_background(
          env, [=] { engine->dispose(); },
          [](Napi::Env env) -> Napi::Value { return env.Undefined(); }, [] {});
    } catch (const std::system_error&) {
      engine->dispose();
      const auto deferred = Napi::Promise::Deferred::New(env);
      deferred.Resolve(env.Undefined());
      return deferred.Promise();
    }
  });
}

}  // namespace openelm
