#include "kernels.h"

#include <cstdlib>
#include <string>

#include "cpu_info.h"

namespace openelm {

static const Kernels& choose_kernels() {
  const char* wanted = std::getenv("OPENELM_CPU_KERNELS");
  if (wanted && std::string(wanted) == "scalar") return scalar_kernels();
#if defined(__aarch64__) || defined(_M_ARM64)
  return neon_kernels();
#else
  return cpu_info().has_avx2 ? avx2_kernels() : scalar_kernels();
#endif
}

const Kernels& cpu_kernels() {
  static const Kernels& kKernels = choose_kernels();
  return kKernels;
}

}  // namespace openelm
