#include "addon_data.h"

#include <new>
#include <system_error>

namespace openelm {

AddonData::AddonData(Napi::Env env)
    : to_javascript_(decltype(to_javascript_)::New(env, "openelm", 0, 1)) {
  to_javascript_.Unref(env);
  // Hooks run in reverse order, so this one comes before that of the thread-safe function.
  env.AddCleanupHook([this] { shut_down(); });
}

void AddonData::shut_down() {
  for (const auto& engine : engines_) {
    if (const auto alive = engine.lock()) alive->dispose();
  }
  for (const Task& task : tasks_) task.stop();
  for (Task& task : tasks_) task.thread.join();
}

void AddonData::post(Callback callback) {
  auto* posted = new Callback(std::move(callback));
  if (to_javascript_.NonBlockingCall(posted) != napi_ok) delete posted;
}

// Without an environment, or when a worker is being terminated, there is nobody left to tell.
void AddonData::call(Napi::Env env, Napi::Function, std::nullptr_t*, Callback* callback) {
  const std::unique_ptr<Callback> owned(callback);
  if (env == nullptr) return;
  try {
    (*owned)(env);
  } catch (const Napi::Error&) {
  }
}

void AddonData::begin_work(Napi::Env env) {
  if (work_under_way_++ == 0) to_javascript_.Ref(env);
}

void AddonData::end_work(Napi::Env env) {
  if (--work_under_way_ == 0) to_javascript_.Unref(env);
}

Napi::Promise AddonData::run_in_background(Napi::Env env, std::function<void()> work,
                                           std::function<Napi::Value(Napi::Env)> finish,
                                           std::function<void()> stop,
                                           std::shared_ptr<void> owned) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  const auto task = tasks_.emplace(tasks_.end());
  task->stop = std::move(stop);
  task->owned = std::move(owned);
  auto run = [=, this, work = std::move(work), finish = std::move(finish)] {
    std::exception_ptr error;
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    post([=, this](Napi::Env env) {
      task->thread.join();
      tasks_.erase(task);
      end_work(env);
      settle(env, deferred, error, finish);
    });
  };
  try {
    task->thread = std::thread(std::move(run));
  } catch (...) {
    tasks_.erase(task);
    throw;
  }
  begin_work(env);
  return deferred.Promise();
}

void AddonData::watch(const std::shared_ptr<Engine>& engine) {
  std::erase_if(engines_, [](const auto& watched) { return watched.expired(); });
  engines_.push_back(engine);
}

Napi::Error make_js_error(Napi::Env env, ErrorCode code, const std::string& message) {
  const Napi::Value error = AddonData::of(env).error_class.New(
      {Napi::String::New(env, error_code_name(code)), Napi::String::New(env, message)});
  return Napi::Error(env, error);
}

Napi::Error current_js_error(Napi::Env env) {
  try {
    throw;
  } catch (const Error& error) {
    return make_js_error(env, error.code, error.what());
  } catch (const std::bad_alloc&) {
    return make_js_error(env, ErrorCode::kOutOfMemory, "out of memory");
  } catch (const std::system_error& error) {
    const bool is_thread = error.code() == std::errc::resource_unavailable_try_again;
    return make_js_error(env, is_thread ? ErrorCode::kOutOfMemory : ErrorCode::kInternal,
                         is_thread ? "cannot start another thread" : error.what());
  } catch (const std::exception& error) {
    return make_js_error(env, ErrorCode::kInternal, error.what());
  } catch (...) {
    return make_js_error(env, ErrorCode::kInternal, "an unknown exception");
  }
}

void settle(Napi::Env env, Napi::Promise::Deferred deferred, std::exception_ptr error,
            const std::function<Napi::Value(Napi::Env)>& finish) {
  const auto value = [&] {
    return guarded(env, [&] {
      if (error) std::rethrow_exception(error);
      return finish(env);
    });
  };
  try {
    deferred.Resolve(value());
  } catch (const Napi::Error& error) {
    deferred.Reject(error.Value());
  }
}

Napi::Object new_array(Napi::Env env, const char* class_name, size_t length) {
  try {
    return env.Global().Get(class_name).As<Napi::Function>().New({Napi::Number::New(env, length)});
  } catch (const Napi::Error&) {
    throw Error(ErrorCode::kOutOfMemory,
                "cannot allocate " + std::to_string(length) + " elements of a " + class_name);
  }
}

}  // namespace openelm
