#include "backend.h"

#include "cpu/cpu_backend.h"
#include "cpu/cpu_info.h"
#include "error.h"

namespace openelm {

std::vector<BackendInfo> list_backends() {
  return {
      {"cpu", CpuBackend::describe(cpu_info().physical_cores), "", true},
      {"cuda", "", "this build has no CUDA kernels", false},
      {"metal", "", "this build has no Metal kernels", false},
  };
}

std::unique_ptr<Backend> create_backend(const std::string& name, int, int threads) {
  if (name == "cpu") return std::make_unique<CpuBackend>(threads);
  for (const BackendInfo& backend : list_backends()) {
    if (backend.name == name)
      throw Error(ErrorCode::kBackendUnavailable, name + ": " + backend.reason);
  }
  throw Error(ErrorCode::kInvalidArgument, "unknown backend " + name);
}

}  // namespace openelm
