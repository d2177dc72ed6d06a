// What the kernels need beside the float32 lanes of the CPU backend.

#include "../../cpu/kernels/vec_math.h"

using Scalar = float;

static inline float sqrt(float x) { return ::sqrtf(x); }
static inline float log(float x) { return ::logf(x); }
