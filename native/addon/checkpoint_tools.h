#pragma once

#include <napi.h>

namespace openelm {

// quantize() and randomNormal() of lib/native.ts: what makes checkpoints rather than runs them.
void init_checkpoint_tools(Napi::Env env, Napi::Object exports);

}  // namespace openelm
