#pragma once

#include <napi.h>

namespace openelm {

// joinGroup and the other functions of lib/native-group.ts.
void init_group(Napi::Env env, Napi::Object exports);

}  // namespace openelm
