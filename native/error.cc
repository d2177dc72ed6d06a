#include "error.h"

namespace openelm {

const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case ErrorCode::kInvalidCheckpoint:
      return "INVALID_CHECKPOINT";
    case ErrorCode::kIoError:
      return "IO_ERROR";
    case ErrorCode::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case ErrorCode::kContextOverflow:
      return "CONTEXT_OVERFLOW";
    case ErrorCode::kBusy:
      return "BUSY";
    case ErrorCode::kBackendUnavailable:
      return "BACKEND_UNAVAILABLE";
    case ErrorCode::kNonFiniteLogits:
      return "NON_FINITE_LOGITS";
    case ErrorCode::kDependencyNotFound:
      return "DEPENDENCY_NOT_FOUND";
    case ErrorCode::kRankLost:
      return "RANK_LOST";
    case ErrorCode::kDisposed:
      return "DISPOSED";
    case ErrorCode::kAborted:
      return "ABORTED";
    case ErrorCode::kInternal:
      break;
  }
  return "INTERNAL";
}

}  // namespace openelm
