#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../model/tensor_source.h"
#include "../mpi/peers.h"
#include "adamw.h"
#include "parameters.h"
#include "sharded_step.h"

namespace openelm::train {

// Of one call, in all of its sequences.
constexpr int64_t kMaxTrainedTokens = 1 << 24;

struct TrainerOptions {
  Config config;
  AdapterOptions adapter;
  DType frozen_dtype = DType::kFloat32;  // of the model's matrices beside an adapter
  int threads = 1;
  int max_tokens = 1;      // of one call, in all of its sequences
  bool recompute = false;  // keep only the input of each layer and run it again on the way back
};

// The arrays of a trainer. The first four hold what is trained, each in the layout of Parameters,
// or of AdapterParameters when there is an adapter; then the last holds the model's own weights, if
// they are in float32.
enum class Array : uint8_t { kWeights, kGradients, kFirstMoments, kSecondMoments, kFrozen };

// Sequences of any lengths end to end. A target is the token that comes next; those below 0 are
// ignored.
struct TrainingBatch {
  std::vector<int32_t> tokens;   // [T]
  std::vector<int32_t> targets;  // [T]
  std::vector<int32_t> lengths;  // [B], from 1; their sum is T
};

// Sums over the targets of a sequence, in order.
struct LossSums {
  double cross_entropy = 0;  // of -log p(target)
  double squared_lse = 0;    // of the square of the logarithm of the sum of the exponentials
};

// The gradient of the sum over the sequences of
//   scale * (sum of -log p(target) + z_loss * sum of lse^2).
struct GradientOptions {
  std::vector<double> scales;  // [B], of any sign
  double z_loss = 0;
  // What dropout is drawn from.
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t first_example = 0;  // how many sequences of the step were in earlier calls
};

// A model in training, whole or by an adapter: what is trained, the sum of the gradients since the
// last step, and the state of the optimiser. One call at a time, from any thread.
class Trainer {
 public:
  // In float32, or in float64 to check gradients. Cheap: memory is filled and the table of RoPE is
  // made by the first call. Throws Error{kOutOfMemory}, Error{kInvalidArgument} for what check()
  // refuses or more than kMaxTrainedTokens a call.
  static std::unique_ptr<Trainer> create(const TrainerOptions& options, bool float64);

  virtual ~Trainer() = default;

  virtual size_t size(Array array) const = 0;
  virtual size_t element_bytes() const = 0;  // 4 or 8
  // To be read, or to be written before the next call.
  virtual void* data(Array array) = 0;

  // Reads the model's own weights from a checkpoint's tensors, in the order of Parameters, and in
  // the dtype that they are kept in. Throws what RowReader does, and Error{kAborted} after
  // cancel().
  virtual void load(const std::vector<TensorSource>& tensors) = 0;

  // The losses of each sequence: of the model with its adapter, or as it is below it. No dropout.
  virtual std::vector<LossSums> evaluate(const TrainingBatch& batch, bool adapted) = 0;
  // Adds to the gradients that of the batch which was evaluated last.
  virtual void backward(const GradientOptions& options) = 0;
  // The same in one, with dropout: the losses of each sequence, and their gradient. Throws
  // Error{kAborted} after cancel(), as all three do, and then the gradients are not to be used.
  virtual std::vector<LossSums> accumulate(const TrainingBatch& batch,
                                           const GradientOptions& options) = 0;

  // Ends the leaf of gradients that calls have been added to so far; later ones are added to the
  // next. step() sums the leaves in the order of GradientTree; without this call there is one.
  virtual void next_leaf() = 0;

  // Makes every magnitude of DoRA the norm of its row, so that an adapter whose B is zero changes
  // no bit.
  virtual void reset_magnitudes() = 0;

  // See adamw(). Throws Error{kAborted} after cancel(); a step that has begun is done in full.
  virtual double step(const AdamWOptions& options) = 0;

  // The same with the gradients of all processes, which make this call together: see ShardedStep.
  // Not ended by cancel(). Throws Error{kRankLost}.
  virtual double step(mpi::Peers& peers, const AdamWOptions& options) = 0;
  // Brings the weights of rank 0, and those that are frozen if asked for, to all processes, which
  // make this call together. Throws Error{kRankLost}.
  virtual void share(mpi::Peers& peers, bool with_frozen) = 0;
  // Elements [begin, end) of the moments that a rank keeps.
  virtual Shard shard(int rank, int ranks) const = 0;

  // Ends the call under way, and all later ones, soon.
  void cancel() { cancelled_ = true; }

 protected:
  std::atomic<bool> cancelled_{false};
};

}  // namespace openelm::train
