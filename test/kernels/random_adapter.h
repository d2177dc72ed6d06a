#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "model/adapter.h"
#include "reference.h"

namespace openelm {

// An adapter of random numbers for every matrix of a layer, or the embedding, too.
struct RandomAdapter {
  struct Options {
    int rank = 4;
    uint64_t seed = 1;
    bool dora = false;
    bool embedding = false;
    bool fresh = false;  // as before training: it changes nothing
  };

  // The lengths of DoRA are near those of the rows of the oracle, which must hold all rows.
  RandomAdapter(const Reference& base, const Options& options);

  std::vector<AdapterTarget> targets;

  // What it makes of an oracle, at some scale beside its own.
  void adapt(Reference& reference, bool adapts_head, float scale = 1) const;

 private:
  std::span<const float> keep(std::vector<float> values);

  std::vector<std::unique_ptr<std::vector<float>>> kept_;  // what the targets refer to
};

}  // namespace openelm
