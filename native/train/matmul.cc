#include "matmul.h"

#include <algorithm>

#include "pack_panel.h"

namespace openelm::train {

// Panels of either factor that a task of the product takes: 96 rows of a, which stay in L2, and 128
// columns of b.
constexpr int kTaskPanelsA = 16;
constexpr int kTaskPanelsB = 8;

constexpr int kTaskPanelsPacked = 8;

// Elements of b that are in panels at a time, about: a strip of its columns, which caches hold and
// of which even a wide b takes little memory. Of few tasks each thread would have too few.
constexpr int kStripElements = 1 << 21;
constexpr int kLeastStripPanels = 4 * kTaskPanelsB;

static int ceil_div(int x, int y) { return (x + y - 1) / y; }

// A factor as panels of kWidth rows, the last one filled up with zeros. They lie by depth first:
// [depth block][panel][depth, at most 256][kWidth].
template <int kWidth, typename T>
struct Packed {
  const T* data;
  int panels;

  // From the row `begin` of the depth on.
  const T* panel(int index, int begin, int depth) const {
    return data + (size_t(begin) * panels + size_t(index) * depth) * kWidth;
  }
};

// Packs the rows [first, first + rows) of x, which has as many columns as the depths say.
template <int kWidth, typename T>
static Packed<kWidth, T> pack(TaskPool& pool, View<T> x, int first_row, int rows,
                              const Depths& depths, std::vector<T>& memory) {
  const int panels = ceil_div(rows, kWidth);
  const size_t size = size_t(panels) * kWidth * depths.size();
  if (memory.size() < size) memory.resize(size);
  const int groups = ceil_div(panels, kTaskPanelsPacked);
  pool.run(groups * depths.count(), [&](int task, int) {
    const int begin = depths.begin(task / groups);
    const int block = depths.depth(task / groups);
    const int first = task % groups * kTaskPanelsPacked;
    for (int p = first; p < std::min(first + kTaskPanelsPacked, panels); ++p) {
      T* to = memory.data() + (size_t(begin) * panels + size_t(p) * block) * kWidth;
      const int row = p * kWidth;
      pack_panel<kWidth>(x, first_row + row, std::min(kWidth, rows - row), begin, block, to);
    }
  });
  return {memory.data(), panels};
}

// One tile of which only `rows` and `cols` lie inside the result.
template <typename T>
static void edge_tile(const Kernels<T>& kernels, const T* a, const T* b, int k, int panels, T* c,
                      size_t c_stride, bool adds, int rows, int cols) {
  T whole[kTileRows * kMaxTilePanels * kTileCols];
  const size_t stride = size_t(panels) * kTileCols;
  kernels.tile(a, b, k, panels, whole, stride, false);
  for (int i = 0; i < rows; ++i) {
    const T* from = whole + i * stride;
    T* to = c + i * c_stride;
    for (int j = 0; j < cols; ++j) to[j] = adds ? to[j] + from[j] : from[j];
  }
}

template <typename T>
void Matmul<T>::reserve(size_t a_size, size_t b_size) {
  packed_a_.resize(std::max(packed_a_.size(), a_size));
  packed_b_.resize(std::max(packed_b_.size(), b_size));
}

// c [m, n] = left * right, or +=.
template <typename T>
static void multiply_packed(TaskPool& pool, const Kernels<T>& kernels,
                            const Packed<kTileRows, T>& left, const Packed<kTileCols, T>& right,
                            int m, int n, const Depths& k, T* c, size_t c_stride, bool adds) {
  const int tasks_down = ceil_div(left.panels, kTaskPanelsA);
  const int tasks_across = ceil_div(right.panels, kTaskPanelsB);
  pool.run(tasks_down * tasks_across, [&](int task, int) {
    const int top = task / tasks_across * kTaskPanelsA;
    const int first = task % tasks_across * kTaskPanelsB;
    for (int pass = 0; pass < k.count(); ++pass) {
      const int begin = k.begin(pass);
      const int depth = k.depth(pass);
      const int end = std::min(first + kTaskPanelsB, right.panels);
      for (int q = first; q < end; q += kernels.tile_panels) {
        const int panels = std::min(kernels.tile_panels, end - q);
        const int cols = std::min(panels * kTileCols, n - q * kTileCols);
        const T* columns = right.panel(q, begin, depth);
        for (int p = top; p < std::min(top + kTaskPanelsA, left.panels); ++p) {
          const int rows = std::min(kTileRows, m - p * kTileRows);
          const T* from = left.panel(p, begin, depth);
          T* to = c + p * kTileRows * c_stride + q * kTileCols;
          const bool adds_here = adds || pass > 0;
          if (rows == kTileRows && cols == panels * kTileCols) {
            kernels.tile(from, columns, depth, panels, to, c_stride, adds_here);
          } else {
            edge_tile(kernels, from, columns, depth, panels, to, c_stride, adds_here, rows, cols);
          }
        }
      }
    }
  });
}

static int strip_columns(int depth) {
  const int panels = kStripElements / kTileCols / std::max(depth, 1);
  return std::max(panels / kTaskPanelsB * kTaskPanelsB, kLeastStripPanels) * kTileCols;
}

template <typename T>
void Matmul<T>::pack_left(View<T> a, int m, const Depths& k) {
  pack<kTileRows>(pool_, a, 0, m, k, packed_a_);
}

template <typename T>
void Matmul<T>::multiply_left(View<T> b, int m, int n, const Depths& k, T* c, size_t c_stride,
                              bool adds) {
  const Packed<kTileRows, T> left = {packed_a_.data(), ceil_div(m, kTileRows)};
  const int strip = strip_columns(k.size());
  for (int begin = 0; begin < n; begin += strip) {
    const int cols = std::min(strip, n - begin);
    const auto right = pack<kTileCols>(pool_, b.transposed(), begin, cols, k, packed_b_);
    multiply_packed(pool_, kernels_, left, right, m, cols, k, c + begin, c_stride, adds);
  }
}

template class Matmul<float>;
template class Matmul<double>;

}  // namespace openelm::train
