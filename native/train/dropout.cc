#include "dropout.h"

#include "row_blocks.h"

namespace openelm::train {

// The finaliser of SplitMix64 (Steele et al., 2014).
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Calls body(i, factor) for the elements of every row.
template <typename T, typename Body>
static void for_kept(Workers<T>& workers, const Dropout& dropout, int target, int rows, int cols,
                     const Body& body) {
  const uint64_t call = mix(mix(dropout.seed) ^ dropout.step);
  const auto threshold = uint64_t(dropout.probability * 0x1p32);
  const T kept = T(1 / (1 - dropout.probability));
  for_rows(workers, rows, [&](int t) {
    const uint64_t example = dropout.first_example + dropout.sequences->sequence(t);
    const uint64_t key =
        mix(mix(mix(call ^ example) ^ uint64_t(dropout.sequences->position(t))) ^ uint64_t(target));
    for (int j = 0; j < cols; ++j) {
      body(size_t(t) * cols + j, (mix(key ^ uint64_t(j)) >> 32) < threshold ? T(0) : kept);
    }
  });
}

template <typename T>
void drop(Workers<T>& workers, const Dropout& dropout, int target, const T* x, int rows, int cols,
          T* to) {
  for_kept(workers, dropout, target, rows, cols,
           [&](size_t i, T factor) { to[i] = x[i] * factor; });
}

template <typename T>
void drop_add(Workers<T>& workers, const Dropout& dropout, int target, const T* x, int rows,
              int cols, T* to) {
  for_kept(workers, dropout, target, rows, cols,
           [&](size_t i, T factor) { to[i] += x[i] * factor; });
}

template void drop(Workers<float>&, const Dropout&, int, const float*, int, int, float*);
template void drop(Workers<double>&, const Dropout&, int, const double*, int, int, double*);
template void drop_add(Workers<float>&, const Dropout&, int, const float*, int, int, float*);
template void drop_add(Workers<double>&, const Dropout&, int, const double*, int, int, double*);

}  // namespace openelm::train
