#pragma once

#include <cstddef>
#include <cstdint>

namespace openelm {

// Which tokens may come next.
class TokenMask {
 public:
  virtual ~TokenMask() = default;

  // Makes the scores [size] of all tokens that may not come next -infinity.
  virtual void apply(float* scores, size_t size) = 0;

  // Goes on behind the token that was drawn.
  virtual void accept(int32_t token) = 0;
};

}  // namespace openelm
