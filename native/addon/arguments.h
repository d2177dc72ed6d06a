#pragma once

#include <napi.h>

#include <map>
#include <string>

#include "../model/engine.h"

namespace openelm {

// The plain structs of lib/native.ts. TypeScript has validated their meaning; a value of another
// type becomes a JavaScript TypeError.

Config read_config(const Napi::Object& object);

// Opens each file once for all tensors that lie in it.
class TensorReader {
 public:
  explicit TensorReader(bool map_files) : map_files_(map_files) {}
  TensorSource read(const Napi::Object& object);

 private:
  std::shared_ptr<const File> open(const std::string& path);

  const bool map_files_;
  std::map<std::string, std::shared_ptr<const File>> files_;
};

EngineOptions read_engine_options(const Napi::Object& object);

}  // namespace openelm
