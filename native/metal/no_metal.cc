// In the place of the Metal backend, in builds for anything but Apple's systems.

#include "../error.h"
#include "metal.h"

namespace openelm {

BackendInfo metal_backend_info() {
  return {"metal", "", "Metal is for macOS on Apple silicon", false};
}

std::unique_ptr<Backend> create_metal_backend(int, DType) {
  throw Error(ErrorCode::kBackendUnavailable, metal_backend_info().reason);
}

}  // namespace openelm
