#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace openelm {

// The codes of lib/errors.ts that native code throws, plus kAborted, which the JavaScript side
// replaces by the reason of the caller's AbortSignal.
enum class ErrorCode : uint8_t {
  kInvalidArgument,
  kInvalidCheckpoint,
  kIoError,
  kOutOfMemory,
  kContextOverflow,
  kBusy,
  kBackendUnavailable,
  kNonFiniteLogits,
  kDependencyNotFound,
  kRankLost,
  kDisposed,
  kAborted,
  kInternal,
};

const char* error_code_name(ErrorCode code);

// Thrown anywhere in native code and caught where a thread or Node-API begins: none ever escapes.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code(code) {}
  const ErrorCode code;
};

}  // namespace openelm
