// Products with adapters: every op against the oracle with merged weights; the bits of a token,
// whoever else is in its batch; and the life of what is loaded.

#include <cmath>

#include "check.h"
#include "error.h"
#include "fixture.h"
#include "model.h"
#include "random_adapter.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

// Widths that fill no panel, block or group; two blocks of columns, ranks of one panel and of two.
std::vector<Config> make_shapes() {
  std::vector<Config> shapes = {
      make_config(72, 20, 301, {{4, 2, 75}, {6, 3, 268}}),
      make_config(328, 64, 97, {{4, 1, 37}}),
  };
  shapes[1].ffn_with_glu = false;
  shapes[1].share_input_output_layers = false;
  return shapes;
}

const RandomAdapter::Options kLora{.rank = 4, .seed = 1};
const RandomAdapter::Options kDora{.rank = 15, .seed = 2, .dora = true};
const RandomAdapter::Options kEmbedding{.rank = 2, .seed = 3, .embedding = true};

// A model with four adapters: LoRA; DoRA; LoRA of the embedding and, where that is the head, of the
// head; and the first and the last of them together.
struct Adapted {
  Adapted(const TestBackend& backend, const Config& config, DType dtype)
      : model(backend, config, dtype, make_tensors(config, dtype, DType::kFloat32)),
        adapters(model.backend, model.weights) {
    const RandomAdapter lora(model.reference, kLora);
    const RandomAdapter dora(model.reference, kDora);
    const RandomAdapter embedding(model.reference, kEmbedding);
    const int ids[] = {load(lora, false), load(dora, false), load(embedding, true)};
    add({{ids[0], 1}}, [&](Reference& oracle) { lora.adapt(oracle, false); });
    add({{ids[1], 1}}, [&](Reference& oracle) { dora.adapt(oracle, false); });
    add({{ids[2], 1}}, [&](Reference& oracle) { embedding.adapt(oracle, true); });
    add({{ids[0], 0.5f}, {ids[2], -1.5f}}, [&](Reference& oracle) {
      lora.adapt(oracle, false, 0.5f);
      embedding.adapt(oracle, true, -1.5f);
    });
  }

  int load(const RandomAdapter& adapter, bool adapts_head) {
    return adapters.load(adapter.targets, adapts_head).id;
  }

  void add(const std::vector<Adapters::Part>& parts, const std::function<void(Reference&)>& adapt) {
    found.push_back(adapters.find(parts));
    oracles.push_back(model.reference);
    adapt(oracles.back());
  }

  // Session i has adapter i; those behind them have none.
  void adapt(Sessions& sessions) {
    for (size_t i = 0; i < found.size(); ++i) sessions.adapt(int(i), *found[i], oracles[i]);
  }

  const Model model;
  Adapters adapters;
  std::vector<std::shared_ptr<const Adapter>> found;
  std::vector<Reference> oracles;
};

void check_ops(const TestBackend& backend, DType dtype) {
  OpErrors errors;
  for (const Config& config : make_shapes()) {
    Adapted adapted(backend, config, dtype);
    OpRun run(adapted.model, errors);
    adapted.adapt(run);
    for (int session = 0; session < 4; ++session) run.batch({{session, 1}});
    for (int session = 0; session < 4; ++session) run.batch({{session, 7}});
    run.batch({{0, 1}, {4, 1}, {1, 1}, {2, 3}, {5, 2}, {3, 9}, {4, 1}});
    run.batch({{4, 17}, {3, 1}});
  }
  for (const auto& [op, worst] : errors) {
    check_at_most(worst.of_limit, 1, op + ": " + short_number(worst.error));
  }
}

// All logits of each session's tokens, which come in these batches.
std::vector<std::vector<float>> logits_of(Adapted& adapted,
                                          const std::vector<std::vector<Segment>>& batches) {
  const Model& model = adapted.model;
  Decoder decoder(*model.backend, model.weights, 64);
  std::vector<std::unique_ptr<KvCache>> caches;
  for (int i = 0; i < 6; ++i) {
    caches.push_back(std::make_unique<KvCache>(model.backend, model.config, 32));
  }
  std::vector<std::vector<float>> logits(caches.size());
  std::vector<int> positions(caches.size());
  const size_t vocab_size = size_t(model.config.vocab_size);
  for (const std::vector<Segment>& segments : batches) {
    Batch batch;
    for (const Segment& segment : segments) {
      const int i = segment.session;
      for (int n = 0; n < segment.count; ++n) {
        batch.logit_rows.push_back(batch.size());
        batch.tokens.push_back(int(random_bits(7, positions[i]) % vocab_size));
        batch.positions.push_back(positions[i]++);
        batch.caches.push_back(caches[i].get());
        batch.adapters.push_back(i < int(adapted.found.size()) ? adapted.found[i].get() : nullptr);
      }
    }
    const float* rows = decoder.forward(batch, kNotCancelled).logits;
    for (const Segment& segment : segments) {
      const size_t count = segment.count * vocab_size;
      logits[segment.session].insert(logits[segment.session].end(), rows, rows + count);
      rows += count;
    }
  }
  return logits;
}

void check_bits(DType dtype) {
  const Config config = make_shapes()[0];
  const auto backend = [](int threads) {
    const auto create = [=](DType cache) { return create_backend("cpu", 0, threads, cache); };
    return TestBackend{"cpu", BackendClass::kCpu, create};
  };
  Adapted one(backend(1), config, dtype);
  Adapted five(backend(5), config, dtype);
  const auto alone =
      logits_of(one, {{{0, 12}}, {{1, 12}}, {{2, 12}}, {{3, 12}}, {{4, 12}}, {{5, 12}}});
  check(alone[4] == alone[5], "two sessions without an adapter are the same");
  for (int i = 0; i < 4; ++i) check(alone[i] != alone[4], "an adapter changes logits");
  std::vector<std::vector<Segment>> steps(12, {{0, 1}, {4, 1}, {1, 1}, {2, 1}, {3, 1}, {5, 1}});
  check(logits_of(five, steps) == alone, "token by token, together");
  check(logits_of(five, {{{3, 5}, {0, 12}, {2, 7}},
                         {{1, 4}, {3, 7}, {4, 12}},
                         {{5, 12}, {2, 5}, {1, 8}}}) == alone,
        "in chunks, together");
}

void check_fresh(const TestBackend& backend, DType dtype) {
  Adapted adapted(backend, make_shapes()[0], dtype);
  const auto bare = logits_of(adapted, {{{4, 9}}})[4];
  for (bool dora : {false, true}) {
    RandomAdapter::Options options{.rank = 4, .seed = 5, .dora = dora, .fresh = true};
    options.embedding = !dora;
    const RandomAdapter fresh(adapted.model.reference, options);
    adapted.found[0] = adapted.adapters.find({{{adapted.load(fresh, true), 1}}});
    check(logits_of(adapted, {{{0, 9}}})[0] == bare, dora ? "DoRA" : "LoRA");
  }
}

template <typename Call>
ErrorCode code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code;
  }
  throw std::runtime_error("expected an error");
}

void check_refusals() {
  Adapted adapted(test_backend("cpu"), make_shapes()[0], DType::kFloat32);
  Adapters& adapters = adapted.adapters;
  const RandomAdapter lora(adapted.model.reference, kLora);
  const auto refused = [&](const char* what, const auto& change) {
    std::vector<AdapterTarget> targets = lora.targets;
    change(targets.back());
    check(code_of([&] { adapters.load(targets, false); }) == ErrorCode::kInvalidArgument, what);
  };
  using Target = AdapterTarget;
  refused("another name", [](Target& t) { t.name = "transformer.layers.2.ffn.proj_2.weight"; });
  refused("a norm", [](Target& t) { t.name = "transformer.layers.1.ffn_norm.weight"; });
  refused("no rank", [](Target& t) { t.rank = 0; });
  refused("another rank", [](Target& t) { t.rank += 1; });
  refused("a short A", [](Target& t) { t.a = t.a.first(t.a.size() - 1); });
  refused("a short B", [](Target& t) { t.b = t.b.first(t.b.size() - 1); });
  refused("short lengths", [](Target& t) { t.magnitudes = t.b.first(1); });

  const auto find = [&](const std::vector<Adapters::Part>& parts) { return adapters.find(parts); };
  check(!find({}), "none");
  check(find({{1, 1}}) == adapted.found[0], "one is the one that was loaded");
  check(code_of([&] { find({{9, 1}}); }) == ErrorCode::kInvalidArgument, "an unknown one");
  check(code_of([&] { find({{2, 0.5f}}); }) == ErrorCode::kInvalidArgument, "DoRA scaled");
  check(code_of([&] { find({{1, 1}, {2, 1}}); }) == ErrorCode::kInvalidArgument, "DoRA in a sum");

  adapters.unload(1);
  adapters.unload(1);
  check(code_of([&] { find({{1, 1}}); }) == ErrorCode::kInvalidArgument, "one that was unloaded");
  check(adapted.found[0]->bytes() > 0, "what uses it keeps it alive");
  adapters.clear();
  for (const auto& adapter : adapted.found)
    check(adapter->bytes() == 0, "all memory is given back");
  check(code_of([&] { find({}); }) == ErrorCode::kDisposed, "find() after clear()");
  check(code_of([&] { adapters.load(lora.targets, false); }) == ErrorCode::kDisposed,
        "load() after clear()");
}

}  // namespace

void test_adapters() {
  for (const TestBackend& backend : test_backends()) {
    if (backend.is_gpu()) {
      test("adapters are refused, " + backend.name, [&] {
        const Config config = make_shapes()[0];
        const auto refused = [&] { Adapted(backend, config, DType::kFloat32); };
        check(code_of(refused) == ErrorCode::kBackendUnavailable, "the code of the error");
      });
      continue;
    }
    for (DType dtype : backend.dtypes()) {
      const std::string name = std::string(", ") + dtype_name(dtype) + ", " + backend.name;
      test("ops with adapters" + name, [&] { check_ops(backend, dtype); });
      test("a fresh adapter changes no bit" + name, [&] { check_fresh(backend, dtype); });
    }
  }
  for (DType dtype : kDTypes) {
    test(std::string("adapters bitwise the same, ") + dtype_name(dtype),
         [&] { check_bits(dtype); });
  }
  test("adapters refused, unloaded and cleared", check_refusals);
}

}  // namespace openelm
