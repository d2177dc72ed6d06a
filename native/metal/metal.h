#pragma once

#include <memory>

#include "../backend.h"

namespace openelm {

// Whether the Metal backend can run here, and on what; a build without Metal says so. Never throws.
BackendInfo metal_backend_info();

// Throws Error{kBackendUnavailable}, and Error{kInvalidArgument} when there is no such device.
std::unique_ptr<Backend> create_metal_backend(int device_index, DType kv_cache_dtype);

}  // namespace openelm
