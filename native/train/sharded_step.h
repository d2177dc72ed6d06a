#pragma once

#include <vector>

#include "../mpi/peers.h"
#include "adamw.h"

namespace openelm::train {

// Elements [begin, end) of what is trained, in whole chunks of the norm: those that a rank sums and
// steps, and whose moments it keeps.
struct Shard {
  size_t begin = 0;
  size_t end = 0;

  size_t size() const { return end - begin; }
};
Shard shard_of(size_t size, int rank, int ranks);

// A step of AdamW whose gradients are those of several ranks: ZeRO-1 (Rajbhandari et al., 2020).
// Every rank sends each other one its gradients of that one's shard, sums those of its own in the
// order of GradientTree, steps, and sends its new weights to all. Weights, moments and the norm are
// bitwise those that adamw() makes of the sum.
//
// The exchange is cut into slices, of which two are under way while another is computed. They take
// up to 128 MB.
template <typename T>
class ShardedStep {
 public:
  // At most so many elements of each shard are in a slice; 0 chooses.
  ShardedStep(mpi::Peers& peers, const Layout& layout, size_t slice_size = 0);

  // As adamw(), once on every rank. Throws Error{kRankLost}.
  double step(Workers<T>& workers, const AdamWOptions& options, const AdamWState<T>& state);

 private:
  // The part of a rank's shard that is in a slice.
  Shard slice_of(int rank, size_t slice) const;

  void sum_gradients(Workers<T>& workers, T* gradients);
  void sum_slice(Workers<T>& workers, size_t slice, T* gradients);
  double exchange_norm(Workers<T>& workers, const T* gradients);
  void step_and_share(Workers<T>& workers, const AdamWOptions& options, double norm,
                      const AdamWState<T>& state);
  // Of a slice: calls part(rank, its part) for every other rank.
  template <typename Body>
  void for_others(const Body& body) const {
    for (int rank = 0; rank < peers_.size(); ++rank) {
      if (rank != peers_.rank()) body(rank);
    }
  }

  mpi::Peers& peers_;
  const Layout& layout_;
  const size_t slice_size_;
  size_t slices_ = 0;
  Shard own_;
  std::vector<T> staging_[2];  // [ranks - 1, slice_size_]
};

}  // namespace openelm::train
