// Included by each kernels_*.cc after its lanes (vec_*.h), inside an anonymous namespace, so that
// no function compiled for one instruction set can be linked in place of another's. For the same
// reason the kernels call no template of the standard library.

#include "vec_math.h"

#include "elementwise.h"

#include "matmul.h"

#include "attention.h"
#include "matmul_quantized.h"
#include "quantize.h"

static constexpr Kernels make_kernels(const char* name) {
  return {name,
          rms_norm,
          rope,
          quantize_input,
          pack_input,
          swiglu,
          silu_row,
          {float_matmul<Float32Weights>, float_matmul<Float16Weights>,
           float_matmul<BFloat16Weights>, quantized_matmul<Q8Weights>, quantized_matmul<Q4Weights>},
          {attention<Float32Weights>, attention<Float16Weights>},
          merge_attention,
          from_f16,
          to_f16,
          q4_products};
}
