#pragma once

// Where a kernel may start before the one ahead of it has ended, memory is to be read only after a
// wait. Here kernels run one after another, so what the earlier ones have written is hidden from
// the first block of a launch, by poison, until all of its lanes have waited.
namespace emulator::cuda {

// Around a launch. `overlaps`: it may start before the one ahead of it has ended; `waits_first`: it
// lets the next one start only when those ahead of it have ended.
void begin_launch(bool overlaps);
void show_writes();
void end_launch(bool waits_first);

// All that was launched has ended.
void end_all_launches();

}  // namespace emulator::cuda
