#pragma once

// What the lanes (vec_*.h) and kernels of every instruction set need. Standard headers are included
// here, before a kernels_*.cc selects its instruction set.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../../half.h"
#include "../kernels.h"

namespace openelm {

// Adding 1.5 * 2^23 to a float32 of magnitude below 2^22 rounds it to an integer, to nearest even,
// which then stands in the low bits.
constexpr float kRoundingMagic = 12582912.0f;

}  // namespace openelm
