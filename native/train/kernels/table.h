// Included by each kernels_*.cc after its lanes, inside an anonymous namespace, as the table of the
// CPU backend is. The lanes say what a Scalar is: float, or double where every digit counts.

#include "tile.h"

#include "rows.h"

static constexpr Kernels<Scalar> make_kernels(const char* name) {
  return {name,
          8,
          multiply_add,
          1,
          tile,
          dot,
          rms_norm,
          rms_norm_backward,
          swiglu,
          swiglu_backward,
          silu_row,
          silu_backward,
          softmax,
          softmax_again,
          softmax_backward};
}
