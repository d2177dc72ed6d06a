#pragma once

#include <cstdint>

namespace openelm {

// Elements [begin, end) of the endless sequence of normal deviates that `seed` and `stream` name,
// times `std`. Each element depends on its index alone, so any part can be made anywhere, in any
// order.
void random_normal(uint64_t seed, uint64_t stream, uint64_t begin, uint64_t end, double std,
                   float* to);

}  // namespace openelm
