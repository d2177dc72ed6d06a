// What one stream does, alone or beside others: draws ahead, stops, fails, scores.

#include "model/stream.h"

#include <algorithm>

#include "allocations.h"
#include "model/adapter.h"
#include "model/scores.h"
#include "stream_fixture.h"
#include "suites.h"

namespace openelm {

namespace {

constexpr int kTokens = 20;
const std::vector<int32_t> kPrompt = {5, 6, 7};

std::vector<int32_t> expected_tokens(StreamModel& model) {
  std::vector<int32_t> tokens;
  model.stream().draw(kPrompt, make_sampler(), 0, kTokens, tokens);
  return tokens;
}

// Whether the stream holds these tokens and nothing else.
bool holds(StreamModel& model, const Client& stream, const std::vector<int32_t>& tokens) {
  const Client other = model.stream();
  other.append(tokens);
  return stream->position() == int(tokens.size()) && stream.append({9}) == other.append({9});
}

std::vector<int32_t> joined(std::vector<int32_t> prompt, const std::vector<int32_t>& tokens,
                            size_t count) {
  prompt.insert(prompt.end(), tokens.begin(), tokens.begin() + count);
  return prompt;
}

void test_tokens() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  for (const int ahead : {1, 2, 7}) {
    std::vector<int32_t> tokens;
    model.stream().draw(kPrompt, make_sampler(), ahead, kTokens, tokens);
    check(tokens == expected, "drawing ahead changed a token");
  }
}

// Never more than so many tokens beyond the one asked for, and the caller sees only what it took.
void test_ahead() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  for (const int ahead : {1, 3}) {
    const int before = model.backend->batches();
    const Client stream = model.stream();
    const auto sampler = make_sampler();
    std::vector<int32_t> tokens;
    for (int count = 1; count <= 5; ++count) {
      stream.draw(kPrompt, sampler, ahead, count, tokens);
      model.backend->await_batches(before + count + ahead);
      check(stream->position() == int(kPrompt.size()) + count - 1, "the position");
    }
    model.stream().append(kPrompt);  // a batch later, nothing more has been drawn
    check(model.backend->batches() == before + 5 + ahead + 1, "it drew too far ahead");
    stream->stop();
    check(stream->is_idle(), "nothing is under way");
    check(holds(model, stream, joined(kPrompt, tokens, 4)), "it kept what was not taken");
  }
}

// Allows the tokens that are `step` more than the one before.
class StepMask : public TokenMask {
 public:
  StepMask(int first, int step) : next_(first), step_(step) {}
  void apply(float* scores, size_t size) override {
    for (size_t id = 0; id < size; ++id) {
      if (int(id) != next_) scores[id] = -std::numeric_limits<float>::infinity();
    }
  }
  bool accept(int32_t token) override {
    next_ = (token + step_) % kVocabSize;
    return true;
  }

 private:
  int next_;
  const int step_;
};

void test_busy() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  const Client stream = model.stream();
  const auto sampler = make_sampler();
  std::vector<int32_t> tokens;
  stream.draw(kPrompt, sampler, 1, 3, tokens);
  const auto is_busy = [](const auto& call) { return code_of(call) == ErrorCode::kBusy; };
  const std::vector<int32_t> last = {tokens.back()};
  const std::vector<int32_t> other = {(tokens.back() + 1) % kVocabSize};
  float logits[kVocabSize];
  check(is_busy([&] { stream->draw(other, sampler, 1); }), "another token");
  check(is_busy([&] { stream->draw(last, make_sampler(), 1); }), "another sampler");
  check(is_busy([&] { stream->draw(last, sampler, 1, std::make_shared<StepMask>(0, 1)); }),
        "another mask");
  check(is_busy([&] { stream.begin_append(last, logits); }), "another job");
  check(is_busy([&] { score(*stream, last, {}, {}, 0); }), "a score");
  check(is_busy([&] { stream->rewind(0); }), "rewind");
  check(is_busy([&] { stream.fork(); }), "fork");
  check(is_busy([&] { model.stream()->draw(kPrompt, sampler, 0); }), "its sampler elsewhere");
  stream->draw(last, sampler, 1);
  check(is_busy([&] { stream->draw(last, sampler, 1); }), "a second call");
  check(stream.wait_for_token() == expected[3], "the caller may still go on");
  stream->stop();
  stream.wait_until_idle();
  stream->rewind(2);
  check(holds(model, stream, {5, 6}), "rewind");
  const Client fork = stream.fork();
  check(fork.append({1}) == stream.append({1}), "fork");
  check(code_of([&] { stream->rewind(99); }) == ErrorCode::kInvalidArgument, "a rewind ahead");
}

void test_full() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  const Client stream = model.stream(int(kPrompt.size()) + 2);
  const auto sampler = make_sampler();
  std::vector<int32_t> tokens;
  stream.draw(kPrompt, sampler, 4, 3, tokens);
  check(tokens == std::vector(expected.begin(), expected.begin() + 3), "the tokens");
  check(stream->is_idle() && stream->position() == stream->context_length(), "it is full");
  const auto code = code_of([&] { stream->draw(std::vector{tokens[2]}, sampler, 1); });
  check(code == ErrorCode::kContextOverflow, "a token too many");
}

// A batch goes on for the others; when nobody is left who wants it, it is cut short.
void test_stop() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  for (const bool is_alone : {false, true}) {
    const Client stopped = model.stream();
    const Client other = model.stream();
    const auto sampler = make_sampler();
    std::vector<int32_t> tokens;
    stopped.draw(kPrompt, sampler, 0, 2, tokens);
    model.hold_batch_of([&] {
      stopped->draw(std::vector{tokens[1]}, sampler, 1);
      if (!is_alone) other->draw(kPrompt, make_sampler(), 0);
    });
    stopped->stop();
    check(!stopped->is_idle() && !stopped->take(), "a batch under way was forgotten");
    check(*model.backend->is_cancelled == is_alone, "whether the batch is cancelled");
    check(code_of([&] { stopped->rewind(0); }) == ErrorCode::kBusy, "a rewind under way");
    model.backend->let_go();
    stopped.wait_until_idle();
    if (!is_alone) check(other.wait_for_token() == expected[0], "it harmed another stream");
    check(holds(model, stopped, joined(kPrompt, tokens, 1)), "it left something behind");
  }
}

// Also of a job that waits for its turn, and of one whose result nobody has taken.
void test_stop_out_of_a_batch() {
  StreamModel model;
  const Client late = model.stream();
  const Client other = model.stream();
  model.hold_batch_of([&] { other->draw(kPrompt, make_sampler(), 0); });
  late->draw(kPrompt, make_sampler(), 1);
  late->stop();
  check(late->is_idle() && late->position() == 0, "a job that had not begun");
  model.backend->let_go();
  other.wait_until_told();
  other->stop();
  check(other->is_idle() && other->position() == 0, "a result that was not taken");
  check(late.append({7}) == other.append({7}), "and both can be used");
}

void test_dispose() {
  StreamModel model;
  const Client stream = model.stream();
  const Client other = model.stream();
  model.hold_batch_of([&] {
    stream->draw(kPrompt, make_sampler(), 1);
    other->draw(kPrompt, make_sampler(), 0);
  });
  stream->dispose();
  check(stream->position() == 0 && stream->context_length() == 0, "it is empty at once");
  model.backend->let_go();
  stream.wait_until_idle();
  other.wait_for_token();
  check(code_of([&] { stream.append(kPrompt); }) == ErrorCode::kDisposed, "it can be used");

  // The whole model, in the middle of a batch: every job ends, and no other begins.
  const Client last = model.stream();
  model.hold_batch_of([&] { last->draw(kPrompt, make_sampler(), 1); });
  std::thread stopper([&] { model.engine->dispose(); });
  while (!*model.backend->is_cancelled) std::this_thread::yield();
  model.backend->let_go();
  stopper.join();
  const auto is_disposed = [](const auto& call) { return code_of(call) == ErrorCode::kDisposed; };
  check(is_disposed([&] { last.wait(); }), "a job did not end");
  check(is_disposed([&] { last->draw(kPrompt, make_sampler(), 1); }), "a job began");
  check(is_disposed([&] { last.fork(); }), "a copy began");
  last->rewind(0);
}

void test_mask() {
  StreamModel model;
  for (const double temperature : {0.0, 1.0}) {
    const auto mask = std::make_shared<StepMask>(90, 3);
    std::vector<int32_t> tokens;
    model.stream().draw(kPrompt, make_sampler(temperature), 1, 5, tokens, mask);
    check(tokens == std::vector<int32_t>{90, 93, 96, 2, 5}, "a token that the mask forbids");
  }
}

// An adapter that changes nothing: where it gets is looked at.
void test_adapter() {
  StreamModel model;
  const auto adapter = std::make_shared<Adapter>();
  adapter->layers.resize(model.config.num_layers);
  const Client with = model.stream(kLength, adapter);
  const Client fork = with.fork();
  const Client without = model.stream();
  std::vector<float> logits(3 * kVocabSize);
  model.hold_batch_of([&] {
    with.begin_append(kPrompt, logits.data());
    without.begin_append(kPrompt, logits.data() + kVocabSize);
    fork.begin_append(kPrompt, logits.data() + 2 * kVocabSize);
  });
  const Adapter* const a = adapter.get();
  const std::vector<const Adapter*> expected = {a, a, a, nullptr, nullptr, nullptr, a, a, a};
  check(model.backend->last_batch.adapters == expected, "the adapters of the batch");
  model.backend->let_go();
  for (const Client* client : {&with, &without, &fork}) client->wait();
}

// Throws when it is asked for the n-th token.
template <typename Thrown>
class FailingMask : public TokenMask {
 public:
  explicit FailingMask(int calls) : calls_(calls) {}
  void apply(float*, size_t) override {
    if (--calls_ == 0) throw Thrown();
  }
  bool accept(int32_t) override { return true; }

 private:
  int calls_;
};

// An error ends the job of its stream and no other.
void test_failure() {
  StreamModel model;
  const std::vector<int32_t> expected = expected_tokens(model);
  const Client guilty = model.stream();
  const Client strange = model.stream();
  const Client innocent = model.stream();
  const auto mask = std::make_shared<FailingMask<std::bad_alloc>>(3);
  const auto sampler = make_sampler();
  model.hold_batch_of([&] {
    guilty->draw(kPrompt, sampler, 1, mask);
    strange->draw(kPrompt, make_sampler(), 5, std::make_shared<FailingMask<int>>(1));
    innocent->draw(kPrompt, make_sampler(), kTokens);
  });
  model.backend->let_go();
  std::vector<int32_t> tokens = {guilty.wait_for_token()};
  guilty.draw(kPrompt, sampler, 1, 2, tokens, mask);
  check(tokens[0] == expected[0] && tokens[1] == expected[1], "the tokens before the error");
  guilty->draw(std::vector{tokens[1]}, sampler, 1, mask);
  int caught = 0;
  try {
    guilty.wait();
  } catch (const std::bad_alloc&) {
    ++caught;
  }
  try {
    strange.wait();
  } catch (int) {
    ++caught;
  }
  check(caught == 2, "an error was lost");
  check(guilty->is_idle() && strange->is_idle(), "a job that failed is over");
  check(guilty->position() == int(kPrompt.size()) + 1 && strange->position() == 0, "positions");
  check(holds(model, guilty, joined(kPrompt, tokens, 1)), "it can be used");
  check(innocent.wait_for_token() == expected[0], "it harmed another stream");
}

void test_allocations() {
  StreamModel model(1);
  model.stream().append(tokens_of(0, 0, kLength));
  const std::vector<int32_t> expected = expected_tokens(model);
  model.backend->on_begin = [] { is_watched = true; };
  const auto count = [&](int logprobs) {
    const Client stream = model.stream();
    const auto sampler = make_sampler(1, logprobs);
    std::vector<int32_t> tokens;
    stream.draw(kPrompt, sampler, 1, 3, tokens);
    const int before = allocations;
    stream.draw(kPrompt, sampler, 1, kTokens, tokens);
    check(tokens == expected, "the tokens");
    return allocations - before;
  };
  const int steps = kTokens - 3;
  check(count(5) >= steps, "the allocations are not counted");
  const int counted = count(0);
  note(std::to_string(counted) + " in " + std::to_string(steps) + " steps");
  check(counted <= 2 * steps, "too many allocations");
}

// Whatever the thread wants memory for between two forward passes, when there is none the job that
// it is for fails, and nothing else.
void test_out_of_memory() {
  StreamModel model(1);
  const std::vector<int32_t> expected = expected_tokens(model);
  model.backend->on_begin = [] { is_watched = false; };
  model.backend->on_logits = [] { is_watched = true; };
  int failures = 0;
  for (int successes = 0; successes < 30; ++successes) {
    const Client other = model.stream();
    const Client reporting = model.stream();
    const auto sampler = make_sampler(1, 5);
    std::vector<int32_t> tokens;
    model.hold_batch_of([&] {
      other->draw(kPrompt, make_sampler(), kTokens);
      reporting->draw(kPrompt, sampler, 1);
    });
    left_until_failure = successes;
    model.backend->let_go();
    try {
      tokens.push_back(reporting.wait_for_token());
      reporting.draw(kPrompt, sampler, 1, kTokens, tokens);
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    left_until_failure = -1;
    check(std::equal(tokens.begin(), tokens.end(), expected.begin()), "the tokens");
    check(reporting->position() == (tokens.empty() ? 0 : int(kPrompt.size() + tokens.size()) - 1),
          "the position");
    check(other.wait_for_token() == expected[0], "it harmed another stream");
    other->stop();
    other.wait_until_idle();
  }
  check(failures == 30, "no memory ran out");
}

}  // namespace

void test_streams() {
  test("stream, tokens drawn ahead", test_tokens);
  test("stream, how far ahead", test_ahead);
  test("stream, busy", test_busy);
  test("stream, full", test_full);
  test("stream, stopped in a batch", test_stop);
  test("stream, stopped out of a batch", test_stop_out_of_a_batch);
  test("stream, disposed", test_dispose);
  test("stream, token mask", test_mask);
  test("stream, adapter", test_adapter);
  test("stream, one that fails", test_failure);
  test("stream, allocations", test_allocations);
  test("stream, out of memory", test_out_of_memory);
}

}  // namespace openelm
