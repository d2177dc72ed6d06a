#pragma once

#include <napi.h>

#include "../error.h"

namespace openelm {

// What the addon keeps for each environment (main thread or worker) that loaded it.
struct AddonData {
  Napi::FunctionReference error_class;
  Napi::FunctionReference model_class;
  Napi::FunctionReference session_class;
};

// An instance of lib/errors.ts's OpenELMError.
Napi::Error make_js_error(Napi::Env env, ErrorCode code, const std::string& message);

// The error that is being handled, as a JavaScript error. Call it inside a catch block only.
Napi::Error current_js_error(Napi::Env env);

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
