#pragma once

// How matvec.cu divides a matrix among the blocks of a launch. bench/gpu-model.mjs divides as this
// does.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "matrix_view.h"

namespace openelm::cuda {

constexpr int kMaxWarps = 16;   // of a multiprocessor, with 128 registers for each lane
constexpr int kMaxRows = 80;    // of a block
constexpr int kStepCols = 256;  // that the lanes of a row take at a time: a chunk each

// What a warp holds of a format: `depth` times `rows` rows of at most `steps` steps each.
struct WarpTile {
  int rows;
  int steps;
  int depth;
};

// A slice is `steps` steps of a row. A warp takes one slice of some of the block's rows, then the
// slice that comes `across` slices later, until all are done; `across` warps take a row side by
// side. It does not depend on the device in which order a row is added up.
struct Division {
  int rows;  // of a block, an even number
  int steps;
  int slices;
  int across;
  int warps;
};

inline int divide_up(int a, int b) { return (a + b - 1) / b; }

// Every multiprocessor has to pull at memory, with as many bytes under way as it takes to fill the
// time until they come: 40 KB, on an H100. Of the divisions that have these, or all there are, it
// takes the one with the least to do for the busiest multiprocessor, and of equals the one with the
// fewest warps, which leave room for the next kernel's.
inline Division divide(const MatrixView& w, const WarpTile& tile, int multiprocessors) {
  constexpr double kBytesUnderWay = 40 << 10;
  constexpr double kIssuedByWarp = 0.75;  // instructions a cycle; a multiprocessor issues 4
  Division division;
  const int steps = divide_up(w.stride, kStepCols);
  division.slices = divide_up(steps, tile.steps);
  division.steps = divide_up(steps, division.slices);
  division.across = divide_up(division.slices, divide_up(division.slices, kMaxWarps));
  const int cols_at_once = std::min(division.across * division.steps * kStepCols, w.stride);
  const auto row_bytes = [&](int cols) {
    return double(stride_bytes(w.dtype, cols) + scale_row_bytes(w.dtype, cols));
  };
  const double wanted = std::min(row_bytes(w.stride) * w.rows / multiprocessors, kBytesUnderWay);

  std::tuple<double, double, int> least = {wanted + 1, 0, 0};
  for (int warps = division.across; warps <= kMaxWarps; warps += division.across) {
    const int rows_at_once = warps / division.across * tile.rows;
    for (int resident = 1; resident * warps <= kMaxWarps; ++resident) {
      const int places = multiprocessors * resident;
      const int rounds = divide_up(w.rows, places * kMaxRows);
      const int rows = 2 * divide_up(divide_up(w.rows, places * rounds), 2);
      const int blocks = divide_up(w.rows, rows);
      const double at_once = std::min(double(resident), double(blocks) / multiprocessors);
      const double under_way =
          at_once * (std::min(rows, rows_at_once * tile.depth) * row_bytes(cols_at_once));
      // A warp has its rows to multiply, and its part of the input to load, which takes as long as
      // a row.
      const double work = divide_up(blocks, places) * (divide_up(rows, rows_at_once) + 1.0) *
                          resident * warps / std::min(4.0, kIssuedByWarp * resident * warps);
      const double missing = std::max(std::floor(wanted - under_way), 0.0);
      const std::tuple cost = {missing, work, resident * warps};
      if (cost >= least) continue;
      least = cost;
      division.rows = rows;
      division.warps = warps;
    }
  }
  return division;
}

}  // namespace openelm::cuda
