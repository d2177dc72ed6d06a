#pragma once

#include <napi.h>

namespace openelm {

void init_machine_speed(Napi::Env env, Napi::Object exports);

}  // namespace openelm
