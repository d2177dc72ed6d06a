#pragma once

// What one token is drawn from a row of logits by: model/sampler.h says how. Kernels of all
// backends read it as it is: a plain struct of four-byte fields.
struct DrawArgs {
  float inverse_temperature;  // 0: the likeliest token
  unsigned top_k;             // 0: off
  float top_p;                // (0, 1]
  float min_p;                // [0, 1)
  float uniform;              // the random number, [0, 1)
};
