#include "backend.h"

#include "cpu/cpu_backend.h"
#include "cuda/cuda.h"
#include "error.h"
#include "metal/metal.h"
#include "model/adapter.h"
#include "simd/cpu_info.h"

namespace openelm {

AdaptedMatrix Backend::adapt(const Matrix&, MatrixLayout, const AdapterTarget&) {
  throw Error(ErrorCode::kBackendUnavailable,
              "adapters need backend 'cpu'; on a GPU, use a model that they are merged into");
}

std::vector<BackendInfo> list_backends() {
  return {
      {"cpu", cpu::CpuBackend::describe(cpu_info().physical_cores), "", true},
      cuda_backend_info(),
      metal_backend_info(),
  };
}

std::unique_ptr<Backend> create_backend(const std::string& name, int device_index, int threads,
                                        DType kv_cache_dtype) {
  if (name == "cpu") return std::make_unique<cpu::CpuBackend>(threads, kv_cache_dtype);
  if (name == "cuda") return create_cuda_backend(device_index, kv_cache_dtype);
  if (name == "metal") return create_metal_backend(device_index, kv_cache_dtype);
  throw Error(ErrorCode::kInvalidArgument, "unknown backend " + name);
}

}  // namespace openelm
