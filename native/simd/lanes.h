#pragma once

// What the lanes (vec_*.inc) and kernels of every instruction set need. Standard headers are
// included here, before a kernels_*.cc selects its instruction set.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../dtype.h"
#include "../quantize.h"
#include "kernels.h"

#if defined(OPENELM_X86)
#include <immintrin.h>
#elif defined(OPENELM_ARM64)
#include <arm_neon.h>
#endif

// How far ahead of one token's reading its weights, keys and values are asked for. The processor
// itself looks ahead within a page of memory only.
constexpr int kPrefetchBytes = 8 * 1024;

// Asks for the memory at p, which need not exist, before it is read.
static inline void prefetch(const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
#elif defined(_M_X64)
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
#endif
}
