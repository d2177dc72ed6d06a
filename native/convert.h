#pragma once

#include <cstddef>

#include "dtype.h"

namespace openelm {

// `size` elements of a dtype that is not quantised, as float32.
void to_float32(DType dtype, const void* from, size_t size, float* to);

// The other way: rounded to nearest, ties to even.
void from_float32(DType dtype, const float* from, size_t size, void* to);

}  // namespace openelm
