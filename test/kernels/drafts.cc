// Drafts: what is drawn is the same with them as without, whatever they say and whatever happens
// meanwhile.

#include <algorithm>
#include <future>

#include "backends.h"
#include "draft_fixture.h"
#include "model/draft_model.h"
#include "model/prompt_lookup.h"
#include "suites.h"

namespace openelm {

namespace {

// Every draft length, for drafts that are right never, mostly and always.
void check_engine(Engine& engine, const SamplerOptions& options) {
  const auto stream = [&] { return Client(engine.create_stream(kLength)); };
  const auto sampler = [&] { return std::make_shared<Sampler>(kVocabSize, options); };
  const Drawn expected = generate(stream(), kText, {sampler()});
  for (int length = 1; length <= kMaxDraftTokens; ++length) {
    for (const double right : {0.0, 0.7, 1.0}) {
      const auto drafter =
          std::make_shared<ScriptedDrafter>(length, text_with(kText, expected.tokens()), right);
      const Drawn drawn = generate(stream(), kText, {sampler(), nullptr, drafter});
      check(are_equal(drawn, expected), "a draft changed what was drawn");
      check(drafter->longest <= length, "the length of a draft");
      check(drafter->drafted > 0 && (drawn.accepted > 0) == (right > 0), "drafts");
    }
  }
  engine.dispose();
}

void test_dtypes() {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8, DType::kQ4}) {
    for (const int threads : {1, 2, 3}) {
      for (const SamplerOptions& options : ways_to_sample()) {
        if (threads != 2 && options.temperature != 0) continue;
        const auto cache = default_kv_cache_dtype("cpu", dtype);
        check_engine(*engine_on(create_backend("cpu", 0, threads, cache), dtype), options);
      }
    }
  }
}

void test_gpu(const TestBackend& backend) {
  for (const DType dtype : {DType::kBFloat16, DType::kQ4}) {
    for (const SamplerOptions& options : {SamplerOptions(), ways_to_sample()[1], penalties()}) {
      check_engine(*engine_on(backend.create(backend.kv_cache_dtype(dtype)), dtype), options);
    }
  }
}

// A model that drafts for itself, on another engine, is always right, and one of other weights
// sometimes.
void test_draft_model() {
  StreamModel model;
  StreamModel same;
  const auto other = engine_on(create_backend("cpu", 0, 1, DType::kFloat32), DType::kQ8);
  for (const SamplerOptions& options : ways_to_sample()) {
    const auto sampler = [&] { return std::make_shared<Sampler>(kVocabSize, options); };
    const Drawn expected = generate(model.stream(), kText, {sampler()});
    for (Engine* engine : {&*same.engine, &*other, &*model.engine}) {
      const auto drafter = std::make_shared<DraftModel>(*engine, kLength, 5);
      const Drawn drawn = generate(model.stream(), kText, {sampler(), nullptr, drafter});
      check(are_equal(drawn, expected), "a draft changed what was drawn");
      if (engine != &*other && options.temperature == 0) {
        check(drawn.accepted >= kCount * 3 / 4, "the model knows its own tokens");
      }
    }
  }
  other->dispose();
}

// What the drafter's stream holds of a text is used for the next one, and nothing else is.
void test_draft_model_goes_on() {
  StreamModel model;
  StreamModel drafting;
  const auto drafter = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
  const Client stream = model.stream();
  Ids text = kText;
  for (int round = 0; round < 4; ++round) {
    const Drawn expected = generate(model.stream(), text, {make_sampler(0)}, 12);
    const Drawn drawn = generate(stream, text, {make_sampler(0), nullptr, drafter}, 12);
    check(are_equal(drawn, expected), "a later text");
    check(drawn.accepted >= 6, "its drafts are wrong");
    text = text_with(text, drawn.tokens());
    text.resize(text.size() - size_t(round) * 3);  // rewound
    text.push_back(1);
    stream->rewind(std::min(stream->position(), int(text.size()) - 2));
  }
  const Client fork = stream.fork();
  const Drawn expected = generate(model.stream(), text, {make_sampler()});
  check(are_equal(generate(fork, text, {make_sampler(), nullptr, drafter}), expected), "a fork");
}

void test_draft_model_fails() {
  StreamModel model;
  const Drawn expected = generate(model.stream(), kText, {make_sampler()});
  const auto check_drafter = [&](const std::shared_ptr<DraftModel>& drafter, const char* what) {
    const Drawn drawn = generate(model.stream(), kText, {make_sampler(), nullptr, drafter});
    check(are_equal(drawn, expected), what);
  };
  StreamModel drafting;
  check_drafter(std::make_shared<DraftModel>(*drafting.engine, 12, 4), "a short context");
  check_drafter(std::make_shared<DraftModel>(*drafting.engine, 3, 4), "no room for the prompt");
  const auto disposed = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
  disposed->dispose();
  check_drafter(disposed, "a drafter that is disposed");
  const auto caught = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
  drafting.backend->hold(drafting.backend->batches() + 1);
  auto done = std::async([&] { check_drafter(caught, "a drafter disposed in mid-draft"); });
  drafting.backend->await_batches(drafting.backend->batches() + 1);
  caught->dispose();
  done.get();
  drafting.backend->let_go();
  const auto late = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
  drafting.backend->on_logits = [&, left = 5]() mutable {
    if (--left == 0) throw Error(ErrorCode::kInternal, "a planted failure");
  };
  check_drafter(late, "a draft model that fails");
  drafting.backend->on_logits = nullptr;
  const auto gone = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
  drafting.engine->dispose();
  check_drafter(gone, "a draft model that is gone");
}

void test_prompt_lookup() {
  StreamModel model;
  const auto draft = [](const Ids& text, int count) {
    PromptLookup drafter(kMaxDraftTokens);
    drafter.start(text);
    const auto found = drafter.draft(count).value();
    return Ids(found.begin(), found.end());
  };
  check(draft({1, 2, 3, 4, 1, 2}, 2) == Ids{3, 4}, "what followed");
  check(draft({1, 2, 3, 4, 1, 2}, 6) == Ids{3, 4, 1, 2, 3, 4}, "beyond the end");
  check(draft({7, 7, 7}, 3) == Ids{7, 7, 7}, "one token again and again");
  check(draft({1, 2, 3, 4, 5}, 3).empty() && draft({1, 2, 1}, 3).empty(), "nothing like it");
  check(draft({9}, 3).empty() && draft({}, 3).empty(), "no text");
  check(draft({1, 2, 3, 8, 9, 2, 3, 7, 5, 1, 2, 3}, 1) == Ids{8}, "the longest match");
  check(draft({2, 3, 8, 2, 3, 9, 4, 2, 3}, 1) == Ids{9}, "the last of those");

  // Of a text that the mask makes repeat itself, nearly all is found.
  const auto bits = [] {
    return std::make_shared<TokenBits>(std::vector<uint32_t>{1u << 4, 0, 0, 0});
  };
  const Drawn expected = generate(model.stream(), kText, {make_sampler(), bits()});
  const auto drafter = std::make_shared<PromptLookup>(8);
  const int before = model.backend->batches();
  const Drawn drawn = generate(model.stream(), kText, {make_sampler(), bits(), drafter});
  check(are_equal(drawn, expected), "the tokens");
  check(drawn.accepted >= kCount / 2, "how many were found");
  check(model.backend->batches() - before <= kCount / 2, "the batches saved");
}

// Allows one token after another, and says when the last has come.
class CountingMask : public TokenMask {
 public:
  explicit CountingMask(int last) : last_(last) {}
  void apply(float* scores, size_t size) override {
    for (size_t id = 0; id < size; ++id) {
      if (id % 5 != size_t(next_ % 5)) scores[id] = -std::numeric_limits<float>::infinity();
    }
  }
  bool accept(int32_t) override { return ++next_ < last_; }

 private:
  int next_ = 0;
  const int last_;
};

void test_masks() {
  StreamModel model;
  for (const SamplerOptions& options : ways_to_sample()) {
    const auto way = [&](std::shared_ptr<Drafter> drafter) {
      return Way{std::make_shared<Sampler>(kVocabSize, options), std::make_shared<CountingMask>(15),
                 std::move(drafter)};
    };
    const Drawn expected = generate(model.stream(), kText, way(nullptr));
    for (const double right : {0.5, 1.0}) {
      const auto drafter =
          std::make_shared<ScriptedDrafter>(7, text_with(kText, expected.tokens()), right);
      const Drawn drawn = generate(model.stream(), kText, way(drafter));
      check(are_equal(drawn, expected) && drawn.accepted > 0, "a draft and a mask");
      check(drawn.samples[14].is_last && !drawn.samples[13].is_last, "the last token");
    }
  }
}

// A drafter is asked for no more than the caller may take, and than the context holds.
void test_limits() {
  StreamModel model;
  const Drawn expected = generate(model.stream(), kText, {make_sampler(0)});
  const auto drafter = [&] {
    return std::make_shared<ScriptedDrafter>(kMaxDraftTokens, text_with(kText, expected.tokens()),
                                             1);
  };
  for (const int ahead : {0, 1, 3}) {
    const auto script = drafter();
    const Drawn drawn = generate(model.stream(), kText, {make_sampler(0), nullptr, script, ahead});
    check(are_equal(drawn, expected), "the tokens");
    check(script->longest == ahead, "it drafted what nobody may take");
  }
  for (const int room : {0, 1, 4, 9}) {
    const Client stream = model.stream(int(kText.size()) + room);
    const Drawn drawn = generate(stream, kText, {make_sampler(0), nullptr, drafter()}, room + 1);
    Ids first = expected.tokens();
    first.resize(size_t(room) + 1);
    check(drawn.tokens() == first, "at the end of the context");
    check(stream->position() == stream->context_length(), "the position");
  }
  const auto used = drafter();
  used->start(kText);
  const Client stream = model.stream();
  stream->draw(kText, make_sampler(), 1, nullptr, used);
  const auto is_busy = [](const auto& call) { return code_of(call) == ErrorCode::kBusy; };
  check(is_busy([&] { model.stream()->draw(kText, make_sampler(), 1, nullptr, used); }), "twice");
  check(is_busy([&] { used->start(kText); }), "a text meanwhile");
  stream->stop();
  stream.wait_until_idle();
  used->start(kText);
  for (const int length : {0, kMaxDraftTokens + 1, -1}) {
    check(code_of([&] { PromptLookup drafter(length); }) == ErrorCode::kInvalidArgument, "length");
  }
}

// Throws after so many tokens.
class BreakingMask : public TokenMask {
 public:
  explicit BreakingMask(int good) : good_(good) {}
  void apply(float*, size_t) override {
    if (--good_ < 0) throw Error(ErrorCode::kInternal, "a planted failure");
  }
  bool accept(int32_t) override { return true; }

 private:
  int good_;
};

// Whatever comes before the error is given out.
void test_failure() {
  StreamModel model;
  const Drawn expected = generate(model.stream(), kText, {make_sampler(0)});
  for (int good = 0; good < 12; ++good) {
    const auto drafter =
        std::make_shared<ScriptedDrafter>(6, text_with(kText, expected.tokens()), 0.9);
    drafter->start(kText);
    const Client stream = model.stream();
    const auto sampler = make_sampler(0);
    const auto mask = std::make_shared<BreakingMask>(good);
    Ids tokens;
    const auto code = code_of([&] {
      while (tokens.size() < kCount) {
        stream->draw(tokens.empty() ? kText : Ids{tokens.back()}, sampler, 20, mask, drafter);
        tokens.push_back(stream.wait_for_token());
      }
    });
    check(code == ErrorCode::kInternal && int(tokens.size()) == good, "tokens before the error");
    check(stream->is_idle() && stream->position() == (good ? int(kText.size()) + good - 1 : 0),
          "the position");
    if (good > 0) {
      const Ids text = text_with(kText, tokens);
      check(are_equal(generate(stream, text, {make_sampler()}, 5),
                      generate(model.stream(), text, {make_sampler()}, 5)),
            "what the session goes on with");
    }
  }
}

// Streams that are stopped at any time, in mid-draft or while one is checked, hold what was taken.
void test_aborts() {
  StreamModel model;
  StreamModel drafting;
  std::vector<std::future<void>> clients;
  for (int client = 0; client < 3; ++client) {
    clients.push_back(std::async([&, client] {
      std::shared_ptr<Drafter> drafter = std::make_shared<DraftModel>(*drafting.engine, kLength, 6);
      Client stream = model.stream();
      Ids text = tokens_of(client, 0, 10);
      for (uint64_t round = 0; round < 12; ++round) {
        const uint64_t random = random_bits(500 + uint64_t(client), round);
        if (random % 5 == 0) drafter = std::make_shared<DraftModel>(*drafting.engine, kLength, 6);
        if (random % 5 == 1) drafter = std::make_shared<PromptLookup>(4);
        const Client fresh = model.stream();
        const Drawn expected = generate(fresh, text, {make_sampler()}, 12);
        drafter->start(text);
        const auto sampler = make_sampler();
        Ids next(text.begin() + stream->position(), text.end());
        for (uint64_t taken = 0; taken < random % 12; ++taken) {
          stream->draw(next, sampler, 12, nullptr, drafter);
          next = {stream.wait_for_token()};
          check(next[0] == expected.samples[taken].token, "a token");
          text.push_back(next[0]);
        }
        if (random % 3 > 0) stream->draw(next, sampler, 12, nullptr, drafter);
        std::this_thread::sleep_for(std::chrono::microseconds(random / 1000 % 700));
        if (random % 7 == 0) {
          stream = model.stream();  // and the other is gone in the middle of its job
          continue;
        }
        stream->stop();
        stream.wait_until_idle();
        check(stream->position() < int(text.size()), "it holds what was not taken");
        if (random % 7 == 1) stream = stream.fork();
      }
    }));
  }
  for (auto& client : clients) client.get();
}

// Two models that draft for each other, and streams with and without drafts side by side.
void test_side_by_side() {
  StreamModel one;
  StreamModel other;
  const Drawn expected = generate(one.stream(), kText, {make_sampler()});
  std::vector<std::future<void>> clients;
  for (int client = 0; client < 6; ++client) {
    clients.push_back(std::async([&, client] {
      const StreamModel& model = client % 2 ? one : other;
      const StreamModel& drafting = client % 2 ? other : one;
      const auto drafter = client < 4 ? std::make_shared<DraftModel>(*drafting.engine, kLength, 4)
                                      : std::shared_ptr<DraftModel>();
      for (int round = 0; round < 3; ++round) {
        const Drawn drawn = generate(model.stream(), kText, {make_sampler(), nullptr, drafter});
        check(are_equal(drawn, expected), "a neighbour changed a token");
      }
    }));
  }
  for (auto& client : clients) client.get();
}

// An engine that ends while drafts are under way, whichever of the two it is.
void test_dispose() {
  for (const bool ends_target : {true, false}) {
    StreamModel model;
    StreamModel drafting;
    const auto drafter = std::make_shared<DraftModel>(*drafting.engine, kLength, 4);
    const std::weak_ptr<Drafter> watched = drafter;
    drafter->start(kText);
    const Client stream = model.stream();
    const auto sampler = make_sampler();
    Ids next = kText;
    std::thread ending;
    const auto code = code_of([&] {
      for (int taken = 0; taken < kCount; ++taken) {
        if (taken == 6) {
          ending = std::thread([&] { (ends_target ? model : drafting).engine->dispose(); });
        }
        stream->draw(next, sampler, 10, nullptr, drafter);
        next = {stream.wait_for_token()};
      }
    });
    ending.join();
    check(ends_target ? !code || code == ErrorCode::kDisposed : !code, "how it ended");
  }
}

void test_length() {
  const auto lengths = [](int most, int accepted, int count) {
    DraftLength length(most);
    std::vector<int> wanted;
    for (int i = 0; i < count; ++i) {
      wanted.push_back(length.wanted());
      length.update(wanted.back(), std::min(accepted, wanted.back()));
    }
    return wanted;
  };
  const auto right = lengths(16, 16, 400);
  check(right.front() >= 2 && right.back() == 16 && std::ranges::is_sorted(right), "all right");
  check(lengths(3, 16, 50).back() == 3, "the most");
  const auto wrong = lengths(16, 0, 500);
  int total = 0;
  for (const int wanted : wrong) total += wanted;
  check(total <= 25, "all wrong: " + std::to_string(total));
  check(*std::max_element(wrong.end() - 100, wrong.end()) == 1, "it still tries");
  DraftLength length(16);
  for (int i = 0; i < 300; ++i) length.update(length.wanted(), 0);
  int steps = 0;
  for (; length.wanted() < 4 && steps < 200; ++steps)
    length.update(length.wanted(), length.wanted());
  check(steps <= 80, "it finds out that drafts are right again: " + std::to_string(steps));
}

}  // namespace

void test_drafts() {
  test("drafts, length", test_length);
  test("drafts, dtypes, threads and lengths", test_dtypes);
  for (const TestBackend& backend : test_backends()) {
    if (backend.is_gpu()) test("drafts, " + backend.name, [&] { test_gpu(backend); });
  }
  test("drafts, of a model", test_draft_model);
  test("drafts, of a model, one text after another", test_draft_model_goes_on);
  test("drafts, of a model that fails", test_draft_model_fails);
  test("drafts, looked up in the prompt", test_prompt_lookup);
  test("drafts, masks", test_masks);
  test("drafts, limits", test_limits);
  test("drafts, errors", test_failure);
  test("drafts, aborts", test_aborts);
  test("drafts, side by side", test_side_by_side);
  test("drafts, disposed under way", test_dispose);
}

}  // namespace openelm
