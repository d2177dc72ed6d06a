#pragma once

#include <memory>

#include "../backend.h"

namespace openelm {

// Whether the CUDA backend can run here, and on what; a build without CUDA says so. Never throws.
BackendInfo cuda_backend_info();

// Throws Error{kBackendUnavailable}, and Error{kInvalidArgument} when there is no such device.
std::unique_ptr<Backend> create_cuda_backend(int device_index, DType kv_cache_dtype);

}  // namespace openelm
