#include "addon_data.h"

#include <algorithm>
#include <new>
#include <system_error>

#include "../constraint/regular.h"

namespace openelm {

AddonData::AddonData(Napi::Env env)
    : to_javascript_(decltype(to_javascript_)::New(env, "openelm", 0, 1)) {
  to_javascript_.Unref(env);
  // Hooks run in reverse order, so this one comes before that of the thread-safe function.
  env.AddCleanupHook([this] { shut_down(); });
}

void AddonData::shut_down() {
  *ended_ = true;
  for (const auto& engine : engines_) {
    if (const auto alive = engine.lock()) alive->dispose();
  }
  for (const Task& task : tasks_) task.stop();
  for (Task& task : tasks_) task.thread.join();
}

Notice::Notice(AddonData& data, std::function<void(Napi::Env)> run)
    : run(std::move(run)), data_(data), ended_(data.ended_) {}

void Notice::post() noexcept {
  if (is_posted_.exchange(true)) return;
  itself_ = shared_from_this();
  if (data_.to_javascript_.NonBlockingCall(this) != napi_ok) itself_ = nullptr;
}

// Without an environment, or when a worker is being terminated, there is nobody left to tell; nor
// is there anybody for what a notice throws, since settle() has told the promise.
void AddonData::call(Napi::Env env, Napi::Function, std::nullptr_t*, Notice* posted) {
  const std::shared_ptr<Notice> notice = std::move(posted->itself_);
  notice->is_posted_ = false;
  if (env == nullptr || *notice->ended_ || !notice->run) return;
  try {
    notice->run(env);
  } catch (...) {
  }
}

void AddonData::begin_work(Napi::Env env) {
  if (work_under_way_++ == 0) to_javascript_.Ref(env);
}

void AddonData::end_work(Napi::Env env) {
  if (--work_under_way_ == 0) to_javascript_.Unref(env);
}

void AddonData::watch(const std::shared_ptr<Engine>& engine) {
  std::erase_if(engines_, [](const auto& watched) { return watched.expired(); });
  engines_.push_back(engine);
}

Napi::Error make_js_error(Napi::Env env, ErrorCode code, const std::string& message,
                          const std::string& argument) {
  auto options = Napi::Object::New(env);
  if (!argument.empty()) options.Set("argument", argument);
  const Napi::Value error = AddonData::of(env).error_class.New(
      {Napi::String::New(env, error_code_name(code)), Napi::String::New(env, message), options});
  return Napi::Error(env, error);
}

Napi::Error current_js_error(Napi::Env env) {
  try {
    throw;
  } catch (const ConstraintError& error) {
    return make_js_error(env, error.code, error.what(), "options.responseConstraint");
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

Napi::Object to_array(Napi::Env env, std::span<const int32_t> values) {
  const Napi::Object array = new_array(env, "Int32Array", values.size());
  std::copy(values.begin(), values.end(), array.As<Napi::Int32Array>().Data());
  return array;
}

Napi::Object to_array(Napi::Env env, std::span<const float> values) {
  const Napi::Object array = new_array(env, "Float32Array", values.size());
  std::copy(values.begin(), values.end(), array.As<Napi::Float32Array>().Data());
  return array;
}

template <typename Array, typename Element>
static std::span<const Element> elements(const Napi::Value& value, napi_typedarray_type type,
                                         const char* what, const char* array_class) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Error(ErrorCode::kInvalidArgument, std::string("expected ") + what + ", " + array_class);
  }
  const auto array = value.As<Array>();
  return {array.Data(), array.ElementLength()};
}

std::span<const int32_t> int32s(const Napi::Value& value, const char* what) {
  return elements<Napi::Int32Array, int32_t>(value, napi_int32_array, what, "an Int32Array");
}

std::span<const float> float32s(const Napi::Value& value, const char* what) {
  return elements<Napi::Float32Array, float>(value, napi_float32_array, what, "a Float32Array");
}

}  // namespace openelm
