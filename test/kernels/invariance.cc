// CPU results are bitwise the same for any number of threads and any company in a batch.

#include <algorithm>

#include "backend.h"
#include "check.h"
#include "model.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/load.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

constexpr int kLength = 37;

struct Model {
  std::shared_ptr<Backend> backend;
  Weights weights;

  Model(int threads, DType dtype) : backend(create_backend("cpu", 0, threads, DType::kFloat32)) {
    const Config config = make_config(72, 20, 301, {{4, 2, 75}, {6, 3, 768}});
    LoadProgress progress(0, nullptr);
    weights =
        load_weights(*backend, config, make_tensors(config, DType::kFloat32), dtype, progress);
  }

  // Scores after each of kLength tokens that come `chunk` at a time, in batches with as many tokens
  // of another session, before or after, as `company` says.
  std::vector<float> logits(int chunk, int company) const {
    const std::atomic<bool> cancelled{false};
    Decoder decoder(*backend, weights, 2 * kLength);
    KvCache cache(backend, weights.config, kLength);
    KvCache other(backend, weights.config, 1000);
    std::vector<float> result;
    for (int begin = 0; begin < kLength; begin += chunk) {
      const int count = std::min(chunk, kLength - begin);
      Batch batch;
      const auto add = [&](KvCache& session, int first, int tokens, uint64_t seed) {
        for (int position = first; position < first + tokens; ++position) {
          if (&session == &cache) batch.logit_rows.push_back(batch.size());
          batch.tokens.push_back(int(random_bits(seed, position) % 301));
          batch.positions.push_back(position);
          batch.caches.push_back(&session);
        }
      };
      const int other_begin = begin / chunk * company;
      if (company % 2) add(other, other_begin, company, 1);
      add(cache, begin, count, 2);
      if (company % 2 == 0) add(other, other_begin, company, 1);
      const float* rows = decoder.forward(batch, cancelled).logits;
      result.insert(result.end(), rows, rows + size_t(count) * 301);
    }
    return result;
  }
};

}  // namespace

void test_invariance() {
  for (DType dtype : kDTypes) {
    test(std::string("bitwise the same, ") + dtype_name(dtype), [&] {
      const std::vector<float> expected = Model(1, dtype).logits(kLength, 0);
      const Model two(2, dtype);
      const Model five(5, dtype);
      for (int chunk : {1, 5, kLength}) {
        for (int company : {0, 1, 4}) {
          check((chunk == 5 ? two : five).logits(chunk, company) == expected,
                "chunks of " + std::to_string(chunk) + ", " + std::to_string(company) +
                    " other tokens");
        }
      }
    });
  }
}

}  // namespace openelm
