#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "../model/model.h"
#include "adamw.h"
#include "ops.h"

namespace openelm::train {

// Of one call, in all of its sequences.
constexpr int64_t kMaxTrainedTokens = 1 << 24;

struct TrainerOptions {
  Config config;
  int threads = 1;
  int max_sequences = 1;    // of one call
  int sequence_length = 1;  // of every sequence
  bool recompute = false;   // keep only the input of each layer and run it again on the way back
};

// The arrays of a trainer, each in the layout of Parameters.
enum class Array : uint8_t { kWeights, kGradients, kFirstMoments, kSecondMoments };

// A model in training: its weights, the sum of the gradients since the last step, and the state of
// the optimiser. One call at a time, from any thread.
class Trainer {
 public:
  // In float32, or in float64 to check gradients. Cheap: memory is filled and the table of RoPE is
  // made by the first call. Throws Error{kOutOfMemory}, Error{kInvalidArgument} for what check()
  // refuses or more than kMaxTrainedTokens a call.
  static std::unique_ptr<Trainer> create(const TrainerOptions& options, bool float64);

  virtual ~Trainer() = default;

  virtual size_t num_parameters() const = 0;
  virtual size_t element_bytes() const = 0;  // 4 or 8
  virtual void* data(Array array) = 0;       // [num_parameters]

  // The losses of `sequences` sequences; targets below 0 are ignored. Adds the gradient of
  //   scale * (sum of -log p(target) + z_loss * sum of lse^2)
  // to the gradients. Throws Error{kAborted} after cancel(), and then the gradients are not to be
  // used.
  virtual LossSums accumulate(const int32_t* tokens, const int32_t* targets, int sequences,
                              double scale, double z_loss) = 0;
  virtual LossSums evaluate(const int32_t* tokens, const int32_t* targets, int sequences) = 0;

  // See adamw(). Throws Error{kAborted} after cancel(); a step that has begun is done in full.
  virtual double step(const AdamWOptions& options) = 0;

  // Ends the call under way, and all later ones, soon.
  void cancel() { cancelled_ = true; }

 protected:
  std::atomic<bool> cancelled_{false};
};

}  // namespace openelm::train
