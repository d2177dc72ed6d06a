#include "model/scheduler.h"

#include <chrono>
#include <future>
#include <optional>

#include "check.h"
#include "cpu/cpu_backend.h"
#include "error.h"
#include "model.h"
#include "model/engine.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

constexpr int kVocabSize = 97;
constexpr int kLength = 200;
constexpr int kClients = 10;

std::unique_ptr<Engine> make_engine() {
  EngineOptions options;
  options.config = make_config(44, 8, kVocabSize, {{3, 3, 75}, {4, 2, 32}});
  options.tensors = make_tensors(options.config, TensorSource::Format::kF32);
  options.backend = "cpu";
  options.threads = 2;
  LoadProgress progress(0, nullptr);
  return std::make_unique<Engine>(options, progress);
}

int32_t token_of(int client, int position) {
  return int32_t(random_bits(client, position) % kVocabSize);
}

struct Submission {
  // What the callback needs; a request that owned it all would own itself.
  struct Outcome {
    std::promise<void> done;
    std::atomic<int> calls{0};
    std::vector<float> logits;
  };
  std::shared_ptr<Request> request = std::make_shared<Request>();
  std::shared_ptr<Outcome> outcome = std::make_shared<Outcome>();

  // The code of its error, if it failed.
  std::optional<ErrorCode> wait() const {
    outcome->done.get_future().wait();
    if (!request->error) return {};
    try {
      std::rethrow_exception(request->error);
    } catch (const Error& error) {
      return error.code;
    }
  }
};

// Asks for the scores after the last of `count` tokens of a client. The engine may be a scheduler.
template <typename Engine>
Submission submit(Engine& engine, const std::shared_ptr<KvCache>& cache, int client, int count,
                  bool all_logits = false) {
  const Submission submission;
  Request& request = *submission.request;
  request.cache = cache;
  request.all_logits = all_logits;
  for (int i = 0; i < count; ++i) request.tokens.push_back(token_of(client, cache->position + i));
  submission.outcome->logits.resize(size_t(all_logits ? count : 1) * kVocabSize);
  request.logits = submission.outcome->logits.data();
  request.done = [outcome = submission.outcome](const std::shared_ptr<Request>&) {
    if (++outcome->calls == 1) outcome->done.set_value();
  };
  engine.submit(submission.request);
  return submission;
}

using Logits = std::vector<float>;

std::vector<Logits> expected_logits() {
  const auto engine = make_engine();
  std::vector<Logits> expected;
  for (int client = 0; client < kClients; ++client) {
    const auto submission = submit(*engine, engine->create_cache(kLength), client, kLength, true);
    check(!submission.wait(), "a lone request failed");
    expected.push_back(submission.outcome->logits);
  }
  return expected;
}

void sleep(uint64_t microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

// Decodes a whole text in pieces, now and then in a copy of its cache. Some pieces it cancels under
// way and tries again.
void run_client(Engine& engine, int client, const Logits& expected, bool cancels) {
  auto cache = engine.create_cache(kLength);
  for (uint64_t attempt = 0; cache->position < kLength; ++attempt) {
    const uint64_t random = random_bits(1000 + client, attempt);
    if (random % 7 == 0) cache = engine.fork_cache(cache);
    const int position = cache->position;
    const int wanted = random % 4 ? 1 : 1 + int(random / 4 % 50);
    const int count = std::min(wanted, kLength - position);
    const auto submission = submit(engine, cache, client, count);
    if (cancels && random % 3 == 0) {
      sleep(random / 1000 % 2000);
      engine.cancel(*submission.request);
    }
    const auto error = submission.wait();
    if (error) {
      check(cancels && error == ErrorCode::kAborted, "a request failed");
      check(cache->position == position, "a request that failed moved its cache");
      continue;
    }
    check(cache->position == position + count, "a request left its cache behind");
    const float* row = expected.data() + size_t(position + count - 1) * kVocabSize;
    check(submission.outcome->logits == Logits(row, row + kVocabSize),
          "the company of other sessions changed a score");
    check(submission.outcome->calls == 1, "done was called twice");
  }
}

// Runs the body for every client on a thread of its own and throws the first error.
void run_clients(const std::function<void(int)>& body) {
  std::vector<std::future<void>> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.push_back(std::async(std::launch::async, body, client));
  }
  std::exception_ptr error;
  for (auto& client : clients) {
    try {
      client.get();
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

void test_sessions(bool cancels) {
  const std::vector<Logits> expected = expected_logits();
  const auto engine = make_engine();
  run_clients([&](int client) { run_client(*engine, client, expected[client], cancels); });
  check(engine->kv_cache_bytes() == 0, "a cache outlived its request");
}

// Every request ends, with scores or as disposed; none can be submitted afterwards.
void test_dispose(int delay) {
  const auto engine = make_engine();
  std::atomic<int> unfinished{0};
  auto disposer = std::async(std::launch::async, [&] {
    sleep(delay);
    engine->dispose();
  });
  run_clients([&](int client) {
    for (;;) {
      try {
        const auto cache = engine->create_cache(kLength);
        const auto submission = submit(*engine, cache, client, 1 + client * 15);
        ++unfinished;
        const auto error = submission.wait();
        --unfinished;
        check(!error || error == ErrorCode::kDisposed, "a request failed");
        check(cache->position == (error ? 0 : 1 + client * 15), "the position of a cache");
      } catch (const Error& error) {
        check(error.code == ErrorCode::kDisposed, "submit failed");
        return;
      }
    }
  });
  disposer.get();
  engine->dispose();
  check(unfinished == 0, "a request never ended");
}

// More sessions decode than fit in a batch: a prompt gets on before the first of them ends.
void test_crowd() {
  constexpr int kSessions = 150;
  const auto engine = make_engine();
  std::vector<std::shared_ptr<KvCache>> caches;
  for (int i = 0; i < kSessions; ++i) caches.push_back(engine->create_cache(kLength));
  std::atomic<int> ended{0};
  std::promise<void> all_ended;
  std::function<void(int)> decode = [&](int session) {
    const auto request = std::make_shared<Request>();
    request->cache = caches[session];
    request->tokens = {token_of(session, caches[session]->position)};
    request->output = Request::Output::kScore;
    request->first_target = 1;
    request->done = [&, session](const std::shared_ptr<Request>&) {
      if (caches[session]->position < kLength) return decode(session);
      if (++ended == kSessions) all_ended.set_value();
    };
    engine->submit(request);
  };
  for (int i = 0; i < kSessions; ++i) decode(i);
  const auto prompt = submit(*engine, engine->create_cache(kLength), 0, 50);
  check(!prompt.wait(), "the prompt failed");
  const int before = ended;
  all_ended.get_future().wait();
  check(before == 0, "a prompt waited for sessions to end");
}

// Tells on which threads it copies and computes.
class WatchedBackend : public CpuBackend {
 public:
  WatchedBackend() : CpuBackend(1, DType::kFloat32) {}
  void begin(const Batch& batch, const std::atomic<bool>& cancelled) override {
    computes = std::this_thread::get_id();
    CpuBackend::begin(batch, cancelled);
  }
  void copy(const Buffer& from, size_t bytes, const Buffer& to) override {
    copies = std::this_thread::get_id();
    if (fails) throw Error(ErrorCode::kInternal, "a planted failure");
    CpuBackend::copy(from, bytes, to);
  }

  std::thread::id computes;
  std::thread::id copies;
  std::atomic<bool> fails{false};
};

// Copies are made by the thread that runs the ops, before what is submitted later; one that fails
// takes the copy with it and nothing else.
void test_copies() {
  const Config config = make_config(44, 8, kVocabSize, {{3, 3, 75}, {4, 2, 32}});
  const auto backend = std::make_shared<WatchedBackend>();
  LoadProgress progress(0, nullptr);
  const Weights weights =
      load_weights(*backend, config, make_tensors(config, TensorSource::Format::kF32),
                   DType::kFloat32, progress);
  Scheduler scheduler(*backend, weights);
  const auto new_cache = [&] { return std::make_shared<KvCache>(backend, config, kLength); };
  const auto fork = [&](const std::shared_ptr<KvCache>& from) {
    const auto to = new_cache();
    to->position = from->position.load();
    scheduler.submit_copy(to, from, to->position);
    return to;
  };

  const auto source = new_cache();
  check(!submit(scheduler, source, 0, 20).wait(), "a request failed");
  const auto copy = fork(source);
  const auto of_copy = submit(scheduler, copy, 0, 1);
  const auto of_source = submit(scheduler, source, 0, 1);
  check(!of_copy.wait() && !of_source.wait(), "a request after a copy failed");
  check(of_copy.outcome->logits == of_source.outcome->logits, "a copy differs from its source");
  check(backend->copies == backend->computes, "a copy was made beside the ops");

  backend->fails = true;
  const auto broken = fork(source);
  check(submit(scheduler, broken, 0, 1).wait() == ErrorCode::kInternal,
        "a copy's failure was lost");
  check(submit(scheduler, fork(broken), 0, 1).wait() == ErrorCode::kInternal,
        "a copy of a failed copy works");
  check(!submit(scheduler, source, 0, 1).wait(), "a failed copy harmed its source");
}

}  // namespace

void test_scheduler() {
  test("scheduler, many sessions", [] { test_sessions(false); });
  test("scheduler, requests cancelled at random", [] { test_sessions(true); });
  test("scheduler, copies of caches", test_copies);
  test("scheduler, a prompt in a crowd", test_crowd);
  test("scheduler, disposed under way", [] {
    for (int delay = 0; delay < 20000; delay += 1000) test_dispose(delay);
  });
}

}  // namespace openelm
