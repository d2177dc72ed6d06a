#include "lanes.h"

#ifdef OPENELM_X86

#define OPENELM_AVX_VNNI
#define OPENELM_TARGET "avx2,fma,f16c,avxvnni"
#include "target_begin.inc"

namespace openelm {
namespace {
#include "vec_avx2.inc"

#include "panel_avx2.inc"

#include "table.inc"
}  // namespace

#include "target_end.inc"

const Kernels* avxvnni_kernels() {
  static constexpr Kernels kKernels = make_kernels("avxvnni");
  return &kKernels;
}

}  // namespace openelm

#endif
