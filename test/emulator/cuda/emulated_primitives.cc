#include "emulated_primitives.h"

#include <algorithm>
#include <bit>

#include "hidden_writes.h"

namespace emulator::cuda {

namespace {
constexpr int kMaxLanes = 1024;

thread_local std::vector<std::vector<PendingCopy>> copies[kMaxLanes];
}  // namespace

void run(const Launch& launch, const std::function<void()>& kernel) {
  ++counters.kernels;
  const uint64_t loaded_before = counters.loaded_bytes;
  if (!machine.runs_kernels) return;
  current = launch;
  begin_launch(launch.overlaps);
  current.hides_writes = true;
  const struct AtEnd {
    ~AtEnd() { end_launch(current.waits_first); }
  } at_end;
  for (unsigned z = 0; z < launch.grid.z; ++z) {
    for (unsigned y = 0; y < launch.grid.y; ++y) {
      for (unsigned x = 0; x < launch.grid.x; ++x) {
        current.block_index = {x, y, z};
        for (int lane = 0; lane < launch.block; ++lane) copies[lane].clear();
        current.waited.assign(size_t(launch.block), false);
        run_block(launch.block, launch.shared_limit, [&](int) { kernel(); });
        if (std::find(current.waited.begin(), current.waited.end(), false) !=
            current.waited.end()) {
          fail(Site::current(), "a lane never waits for the kernel before it");
        }
        current.hides_writes = false;
      }
    }
  }
  launches.push_back({size_t(launch.grid.x) * launch.grid.y * launch.grid.z, launch.block,
                      counters.loaded_bytes - loaded_before, current.early_bytes});
}

std::vector<std::vector<PendingCopy>>& pending_copies() { return copies[current_lane()]; }

void land_copies(size_t groups_left) {
  auto& groups = pending_copies();
  const size_t committed = groups.empty() ? 0 : groups.size() - 1;
  if (committed <= groups_left) return;
  const auto landed = groups.begin() + std::ptrdiff_t(committed - groups_left);
  for (auto group = groups.begin(); group != landed; ++group) {
    for (const PendingCopy& copy : *group) {
      if (copy.from) {
        std::memcpy(copy.to, copy.from, 16);
      } else {
        std::memset(copy.to, 0, 16);
      }
    }
  }
  groups.erase(groups.begin(), landed);
}

}  // namespace emulator::cuda

namespace openelm::cuda {
namespace {

struct MatrixRow {
  const uint16_t* row;
  uint32_t* d;
};

// Lane 4g + t receives elements 2t and 2t + 1 of row g of each matrix; transposed, of column g.
template <bool kTranspose>
void distribute(const emulator::Group& group) {
  const auto posted = [&](int lane) { return static_cast<MatrixRow*>(group.posted[lane]); };
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto element = [&](int row, int column) {
        return uint32_t(posted(8 * matrix + row)->row[column]);
      };
      posted(lane)->d[matrix] = kTranspose ? element(2 * t, g) | element(2 * t + 1, g) << 16
                                           : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
  }
}

void load_matrices(uint32_t* d, const void* row, void (*combine)(const emulator::Group&),
                   const emulator::Site& site) {
  if (uintptr_t(row) % 16) emulator::fail(site, "the row of a matrix is not aligned");
  MatrixRow mine{static_cast<const uint16_t*>(row), d};
  emulator::warp_collective(~0u, &mine, combine, site);
}

float half_to_float(uint16_t bits) { return std::bit_cast<_Float16>(bits); }
float bfloat_to_float(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }

// Lane 4g + t holds, as pairs of consecutive k: a rows g and g + 8 at k = 2t and again at k = 2t +
// 8; b column g at k = 2t and 2t + 8; c rows g and g + 8 at columns 2t and 2t + 1.
template <float (*to_float)(uint16_t)>
void multiply(const emulator::Group& group) {
  float a[16][16];
  float b[16][8];
  float c[16][8];
  const auto for_each_of_c = [&](const auto& visit) {
    for (int lane = 0; lane < 32; ++lane) {
      auto& posted = *static_cast<MmaOperands*>(group.posted[lane]);
      for (int i = 0; i < 4; ++i) {
        visit(posted.c[i], c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
      }
    }
  };
  for (int lane = 0; lane < 32; ++lane) {
    const auto& posted = *static_cast<MmaOperands*>(group.posted[lane]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int odd = 0; odd < 2; ++odd) {
      const auto unpack = [odd](uint32_t pair) { return to_float(uint16_t(pair >> 16 * odd)); };
      for (int i = 0; i < 4; ++i) {
        a[g + i % 2 * 8][2 * t + i / 2 * 8 + odd] = unpack(posted.a[i]);
      }
      for (int i = 0; i < 2; ++i) b[2 * t + i * 8 + odd][g] = unpack(posted.b[i]);
    }
  }
  for_each_of_c([](float& of_lane, float& element) { element = of_lane; });
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
  for_each_of_c([](float& of_lane, float& element) { of_lane = element; });
}

}  // namespace

void ldmatrix_x4(uint32_t (&d)[4], const void* row, const emulator::Site& site) {
  load_matrices(d, row, distribute<false>, site);
}

void ldmatrix_x4_trans(uint32_t (&d)[4], const void* row, const emulator::Site& site) {
  load_matrices(d, row, distribute<true>, site);
}

void mma_float16(const emulator::Group& group) { multiply<half_to_float>(group); }
void mma_bfloat16(const emulator::Group& group) { multiply<bfloat_to_float>(group); }

}  // namespace openelm::cuda
