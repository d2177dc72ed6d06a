#include "kernels.h"

#include <cstdlib>
#include <string>

#include "cpu_info.h"

namespace openelm {

std::vector<const Kernels*> runnable_kernels() {
  const CpuInfo& info = cpu_info();
  std::vector<const Kernels*> tables = {scalar_kernels()};
  if (info.has_avx2 && avx2_kernels()) tables.push_back(avx2_kernels());
  if (info.has_avxvnni && avxvnni_kernels()) tables.push_back(avxvnni_kernels());
  if (info.has_avx512 && avx512_kernels()) tables.push_back(avx512_kernels());
  if (neon_kernels()) tables.push_back(neon_kernels());
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
