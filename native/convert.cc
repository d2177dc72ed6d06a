#include "convert.h"

#include <algorithm>
#include <cstring>

#include "dtype.h"
#include "simd/kernels.h"

namespace openelm {

void to_float32(DType dtype, const void* from, size_t size, float* to) {
  const auto* halves = static_cast<const uint16_t*>(from);
  if (dtype == DType::kFloat16) {
    cpu_kernels().from_f16(halves, int(size), to);
  } else if (dtype == DType::kBFloat16) {
    std::transform(halves, halves + size, to, bf16_to_float);
  } else {
    std::memcpy(to, from, size * sizeof(float));
  }
}

void from_float32(DType dtype, const float* from, size_t size, void* to) {
  auto* halves = static_cast<uint16_t*>(to);
  if (dtype == DType::kFloat16) {
    cpu_kernels().to_f16(from, int(size), halves);
  } else if (dtype == DType::kBFloat16) {
    std::transform(from, from + size, halves, float_to_bf16);
  } else {
    std::memcpy(to, from, size * sizeof(float));
  }
}

}  // namespace openelm
