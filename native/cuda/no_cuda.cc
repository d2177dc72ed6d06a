// In the place of the CUDA backend, in builds on machines without its compiler.

#include "../error.h"
#include "cuda.h"

namespace openelm {

BackendInfo cuda_backend_info() { return {"cuda", "", "this build has no CUDA kernels", false}; }

std::unique_ptr<Backend> create_cuda_backend(int, DType) {
  throw Error(ErrorCode::kBackendUnavailable, "cuda: " + cuda_backend_info().reason);
}

}  // namespace openelm
