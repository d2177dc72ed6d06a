#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../model/load.h"

namespace openelm {

// The plain structs of lib/native.ts. TypeScript has validated their meaning; a value of another
// type becomes a JavaScript TypeError.

int integer(const Napi::Object& object, const char* name);
int64_t int64(const Napi::Object& object, const char* name);
double number(const Napi::Object& object, const char* name);
bool boolean(const Napi::Object& object, const char* name);
std::string text(const Napi::Object& object, const char* name);

DType parse_tensor_type(const std::string& name);
MatrixLayout read_layout(const Napi::Value& value);

Config read_config(const Napi::Object& object);

// A tensor, and where its bytes lie in files that are not open yet.
struct TensorArguments {
  TensorSource tensor;
  std::string file;
  std::string scales_file;  // of a quantised matrix that is not packed
};

TensorArguments read_tensor(const Napi::Object& object);

// With arrays that live as long as the object.
AdapterTarget read_adapter_target(const Napi::Object& object);

// Opens each file once for all tensors that lie in it. Not for the JavaScript thread: a disk may
// take its time.
std::vector<TensorSource> open_tensors(const std::vector<TensorArguments>& tensors, bool map_files);

// But for the tensors, which open_tensors() makes.
LoadOptions read_load_options(const Napi::Object& object);

}  // namespace openelm
