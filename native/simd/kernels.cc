#include "kernels.h"

#include <cstdlib>
#include <string>

#include "cpu_info.h"

namespace openelm {

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> tables = {scalar_kernels()};
#if defined(OPENELM_X86)
  const CpuInfo& info = cpu_info();
  if (info.has_avx2) tables.push_back(avx2_kernels());
  if (info.has_avxvnni) tables.push_back(avxvnni_kernels());
  if (info.has_avx512) tables.push_back(avx512_kernels());
#elif defined(OPENELM_ARM64)
  tables.push_back(neon_kernels());
#endif
  return tables;
}

static const Kernels* choose_kernels() {
  const char* wanted = std::getenv("OPENELM_CPU_KERNELS");
  const std::vector<const Kernels*> tables = runnable_kernels();
  for (const Kernels* table : tables) {
    if (wanted && std::string(wanted) == table->name) return table;
  }
  return tables.back();
}

const Kernels& cpu_kernels() {
  static const Kernels* const kKernels = choose_kernels();
  return *kKernels;
}

}  // namespace openelm
