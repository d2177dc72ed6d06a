#pragma once

// What the lanes (vec_*.h) and kernels of every instruction set need. Standard headers are included
// here, before a kernels_*.cc selects its instruction set.

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../../half.h"
#include "../../quantize.h"
#include "../kernels.h"
