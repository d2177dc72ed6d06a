#include "sharded_step.h"

#include <algorithm>
#include <cmath>

#include "gradient_tree.h"

namespace openelm::train {

using mpi::Peers;
using Transfers = std::vector<std::shared_ptr<mpi::Transfer>>;

constexpr size_t kMinSlice = size_t(1) << 16;
constexpr size_t kAllSlices = size_t(1) << 24;  // elements of all ranks in a slice
constexpr size_t kSumBlock = 4096;              // elements that stay in a core's cache

static size_t chunks_of(size_t size) { return (size + kChunk - 1) / kChunk; }

Shard shard_of(size_t size, int rank, int ranks) {
  const auto border = [&](int index) {
    return std::min(size, chunks_of(size) * size_t(index) / size_t(ranks) * kChunk);
  };
  return {border(rank), border(rank + 1)};
}

template <typename T>
ShardedStep<T>::ShardedStep(Peers& peers, const Layout& layout, size_t slice_size)
    : peers_(peers),
      layout_(layout),
      slice_size_(slice_size > 0 ? slice_size
                                 : std::max(kMinSlice, kAllSlices / size_t(peers.size()))),
      own_(shard_of(layout.size(), peers.rank(), peers.size())) {
  size_t longest = 0;
  for (int rank = 0; rank < peers.size(); ++rank) {
    longest = std::max(longest, shard_of(layout.size(), rank, peers.size()).size());
  }
  slices_ = (longest + slice_size_ - 1) / slice_size_;
}

template <typename T>
Shard ShardedStep<T>::slice_of(int rank, size_t slice) const {
  const Shard shard = shard_of(layout_.size(), rank, peers_.size());
  const size_t begin = std::min(shard.begin + slice * slice_size_, shard.end);
  return {begin, std::min(begin + slice_size_, shard.end)};
}

template <typename T>
double ShardedStep<T>::step(Workers<T>& workers, const AdamWOptions& options,
                            const AdamWState<T>& state) {
  sum_gradients(workers, state.gradients);
  const double norm = exchange_norm(workers, state.gradients);
  if (std::isfinite(norm)) step_and_share(workers, options, norm, state);
  // Those of the other ranks' shards as well.
  const size_t size = layout_.size();
  workers.pool.run_all(int(chunks_of(size)), [&](int chunk, int) {
    const size_t begin = chunk * kChunk;
    std::fill(state.gradients + begin, state.gradients + std::min(begin + kChunk, size), T(0));
  });
  return norm;
}

template <typename T>
void ShardedStep<T>::sum_gradients(Workers<T>& workers, T* gradients) {
  Transfers under_way(slices_);
  const auto begin_slice = [&](size_t slice) {
    if (slice >= slices_) return;
    std::vector<T>& staging = staging_[slice % 2];
    const Shard own = slice_of(peers_.rank(), slice);
    staging.resize(std::max(staging.size(), size_t(peers_.size() - 1) * own.size()));
    std::vector<Peers::Part> sends;
    std::vector<Peers::Part> receives;
    for_others([&](int rank) {
      const Shard theirs = slice_of(rank, slice);
      T* piece = staging.data() + receives.size() * own.size();
      sends.push_back({rank, gradients + theirs.begin, theirs.size() * sizeof(T)});
      receives.push_back({rank, piece, own.size() * sizeof(T)});
    });
    under_way[slice] = peers_.exchange(std::move(sends), std::move(receives));
  };
  begin_slice(0);
  begin_slice(1);
  for (size_t slice = 0; slice < slices_; ++slice) {
    under_way[slice]->wait();
    sum_slice(workers, slice, gradients);
    begin_slice(slice + 2);
  }
}

template <typename T>
void ShardedStep<T>::sum_slice(Workers<T>& workers, size_t slice, T* gradients) {
  const Shard own = slice_of(peers_.rank(), slice);
  T* staging = staging_[slice % 2].data();
  const size_t blocks = (own.size() + kSumBlock - 1) / kSumBlock;
  workers.pool.run_all(int(blocks), [&](int block, int) {
    const size_t begin = block * kSumBlock;
    const size_t size = std::min(kSumBlock, own.size() - begin);
    std::vector<T*> pieces;
    size_t received = 0;
    for (int rank = 0; rank < peers_.size(); ++rank) {
      const bool is_own = rank == peers_.rank();
      T* piece = is_own ? gradients + own.begin : staging + received++ * own.size();
      pieces.push_back(piece + begin);
    }
    add_pieces(pieces, size);
    T* sum = gradients + own.begin + begin;
    if (pieces[0] != sum) std::copy_n(pieces[0], size, sum);
  });
}

template <typename T>
double ShardedStep<T>::exchange_norm(Workers<T>& workers, const T* gradients) {
  std::vector<double> sums(chunks_of(layout_.size()));
  double* own = sums.data() + own_.begin / kChunk;
  const size_t own_bytes = chunks_of(own_.size()) * sizeof(double);
  sum_squares<T>(workers, gradients, own_.begin, own_.end, own);
  std::vector<Peers::Part> sends;
  std::vector<Peers::Part> receives;
  for_others([&](int rank) {
    const Shard theirs = shard_of(layout_.size(), rank, peers_.size());
    double* to = sums.data() + theirs.begin / kChunk;
    sends.push_back({rank, own, own_bytes});
    receives.push_back({rank, to, chunks_of(theirs.size()) * sizeof(double)});
  });
  peers_.exchange(std::move(sends), std::move(receives))->wait();
  return norm_of(sums);
}

template <typename T>
void ShardedStep<T>::step_and_share(Workers<T>& workers, const AdamWOptions& options, double norm,
                                    const AdamWState<T>& state) {
  Transfers under_way(slices_);
  for (size_t slice = 0; slice < slices_; ++slice) {
    const Shard own = slice_of(peers_.rank(), slice);
    adamw_range(workers, layout_, options, norm, state, own.begin, own.end);
    std::vector<Peers::Part> sends;
    std::vector<Peers::Part> receives;
    for_others([&](int rank) {
      const Shard theirs = slice_of(rank, slice);
      sends.push_back({rank, state.weights + own.begin, own.size() * sizeof(T)});
      receives.push_back({rank, state.weights + theirs.begin, theirs.size() * sizeof(T)});
    });
    under_way[slice] = peers_.exchange(std::move(sends), std::move(receives));
    if (slice >= 2) under_way[slice - 2]->wait();
  }
  for (size_t slice = slices_ - std::min<size_t>(2, slices_); slice < slices_; ++slice) {
    under_way[slice]->wait();
  }
}

template class ShardedStep<float>;
template class ShardedStep<double>;

}  // namespace openelm::train
