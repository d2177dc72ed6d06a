#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "../error.h"
#include "../model/engine.h"

namespace openelm {

class AddonData;

// Something to do on the JavaScript thread, as often as it is posted.
class Notice : public std::enable_shared_from_this<Notice> {
 public:
  Notice(AddonData& data, std::function<void(Napi::Env)> run);

  // Runs it soon, once for all calls until then; never when the environment is ending. Any thread.
  void post() noexcept;

  std::function<void(Napi::Env)> run;  // the JavaScript thread's; may become empty

 private:
  friend class AddonData;
  AddonData& data_;
  const std::shared_ptr<const bool> ended_;
  std::atomic<bool> is_posted_{false};
  std::shared_ptr<Notice> itself_;  // while it is posted
};

// What the addon keeps for each environment (the main thread or a worker) that loaded it.
//
// Work on other threads reports to JavaScript by notices. When the environment ends, perhaps in the
// middle of a forward pass, a cleanup hook first stops every engine and joins every thread, so that
// nothing can report to an environment that is gone. What was posted before, and not yet called, is
// dropped: Bun would call it after the hook.
class AddonData {
 public:
  explicit AddonData(Napi::Env env);

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

  // Runs `callback` on the JavaScript thread, soon. Any thread.
  void post(std::function<void(Napi::Env)> callback) {
    std::make_shared<Notice>(*this, std::move(callback))->post();
  }

  // The process stays alive while there is work: each begin_work() wants one end_work().
  // JavaScript thread only.
  void begin_work(Napi::Env env);
  void end_work(Napi::Env env);

  // Runs `work` on a thread of its own and settles the promise with what `finish` makes of it on
  // the JavaScript thread, or with the error that `work` threw. `stop` must make work end soon that
  // takes long. `owned` lives as long as the work and dies on the JavaScript thread, as references
  // must. Throws std::system_error when no thread can be started.
  Napi::Promise run_in_background(Napi::Env env, std::function<void()> work,
                                  std::function<Napi::Value(Napi::Env)> finish,
                                  std::function<void()> stop,
                                  std::shared_ptr<void> owned = nullptr);

  // Stops the engine when the environment ends.
  void watch(const std::shared_ptr<Engine>& engine);

  Napi::FunctionReference error_class;
  Napi::FunctionReference model_class;
  Napi::FunctionReference session_class;
  Napi::FunctionReference drafter_class;

 private:
  friend class Notice;
  struct Task {
    std::thread thread;
    std::exception_ptr error;
    std::function<void()> stop;
    std::shared_ptr<void> owned;
  };
  static void call(Napi::Env env, Napi::Function, std::nullptr_t*, Notice* notice);
  void shut_down();

  // Whether the environment has ended. Shared with notices, which may outlive this object.
  // JavaScript thread only.
  const std::shared_ptr<bool> ended_ = std::make_shared<bool>(false);
  Napi::TypedThreadSafeFunction<std::nullptr_t, Notice, call> to_javascript_;
  int work_under_way_ = 0;
  std::list<Task> tasks_;
  std::vector<std::weak_ptr<Engine>> engines_;
};

// An instance of lib/errors.ts's OpenELMError.
Napi::Error make_js_error(Napi::Env env, ErrorCode code, const std::string& message,
                          const std::string& argument = {});

// The error that is being handled, as a JavaScript error. Call it inside a catch block only.
Napi::Error current_js_error(Napi::Env env);

// Settles a promise with what `finish` makes, or with `error` or what `finish` throws.
void settle(Napi::Env env, Napi::Promise::Deferred deferred, std::exception_ptr error,
            const std::function<Napi::Value(Napi::Env)>& finish);

// The elements of an Int32Array or a Float32Array, to be used before JavaScript runs again. Throws
// Error{kInvalidArgument}.
std::span<const int32_t> int32s(const Napi::Value& value, const char* what = "tokens");
std::span<const float> float32s(const Napi::Value& value, const char* what);

// A typed array of zeros. Throws Error{kOutOfMemory}, where New() of its class in C++ would end the
// process.
Napi::Object new_array(Napi::Env env, const char* class_name, size_t length);

// Copies of these.
Napi::Object to_array(Napi::Env env, std::span<const int32_t> values);
Napi::Object to_array(Napi::Env env, std::span<const float> values);

// Runs the body of a JavaScript-visible function: no C++ exception but Napi::Error leaves it.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw current_js_error(env);
  }
}

}  // namespace openelm
