#include "addon_data.h"

#include <new>

namespace openelm {

Napi::Error make_js_error(Napi::Env env, ErrorCode code, const std::string& message) {
  const auto* data = env.GetInstanceData<AddonData>();
  const Napi::Value error = data->error_class.New(
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
  } catch (const std::exception& error) {
    return make_js_error(env, ErrorCode::kInternal, error.what());
  } catch (...) {
    return make_js_error(env, ErrorCode::kInternal, "an unknown exception");
  }
}

}  // namespace openelm
