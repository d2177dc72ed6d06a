// Many streams of one model at the same time.

#include "model/engine.h"

#include <chrono>
#include <future>

#include "stream_fixture.h"
#include "suites.h"

namespace openelm {

namespace {

constexpr int kClients = 10;

std::shared_ptr<Engine> make_engine() {
  LoadOptions options;
  options.config = stream_config();
  options.tensors = make_tensors(options.config, DType::kFloat32);
  options.backend = "cpu";
  options.threads = 2;
  LoadProgress progress(0, nullptr);
  return load_engine(options, progress);
}

using Logits = std::vector<float>;

std::vector<Logits> expected_logits() {
  StreamModel model;
  std::vector<Logits> expected;
  for (int client = 0; client < kClients; ++client) {
    expected.push_back(model.stream().append(tokens_of(client, 0, kLength), true));
  }
  return expected;
}

// Appends a whole text in pieces, now and then in a copy of its cache. Some pieces it stops under
// way and tries again.
void run_client(Engine& engine, int client, const Logits& expected, bool stops) {
  Client stream(engine.create_stream(kLength));
  std::vector<float> logits(kVocabSize);
  for (uint64_t attempt = 0; stream->position() < kLength; ++attempt) {
    const uint64_t random = random_bits(1000 + client, attempt);
    if (random % 7 == 0) {
      stream = stream.fork();
    }
    const int position = stream->position();
    const int wanted = random % 4 ? 1 : 1 + int(random / 4 % 50);
    const int count = std::min(wanted, kLength - position);
    stream.begin_append(tokens_of(client, position, count), logits.data());
    if (stops && random % 3 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random / 1000 % 2000));
      stream->stop();
      stream.wait_until_idle();
      check(stream->position() == position, "a job that was stopped moved its stream");
      continue;
    }
    stream.wait();
    check(stream->position() == position + count, "a job left its stream behind");
    const float* row = expected.data() + size_t(position + count - 1) * kVocabSize;
    check(logits == Logits(row, row + kVocabSize), "the company of others changed a score");
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

void test_many(bool stops) {
  const std::vector<Logits> expected = expected_logits();
  const auto engine = make_engine();
  run_clients([&](int client) { run_client(*engine, client, expected[client], stops); });
  check(engine->kv_cache_bytes() == 0, "a cache outlived its stream");
}

// Generations side by side, each with its own sampler, drawing ahead and sometimes left.
void test_drawing() {
  const auto engine = make_engine();
  const auto generate = [&](int client, int ahead, size_t count) {
    std::vector<int32_t> tokens;
    Client stream(engine->create_stream(kLength));
    stream.draw(tokens_of(client, 0, 1 + client * 3), make_sampler(1, client % 2), ahead, count,
                tokens);
    stream->stop();
    stream.wait_until_idle();
    check(stream->position() == client * 3 + int(count), "the position");
    return tokens;
  };
  std::vector<std::vector<int32_t>> expected;
  for (int client = 0; client < kClients; ++client) expected.push_back(generate(client, 0, 40));
  run_clients([&](int client) {
    for (int round = 1; round <= 4; ++round) {
      const auto tokens = generate(client, round % 3, 10 * round);
      check(std::equal(tokens.begin(), tokens.end(), expected[client].begin()),
            "the company of others changed a token");
    }
  });
  check(engine->kv_cache_bytes() == 0, "a cache outlived its stream");
}

// Every job ends, with its result or as disposed; none can begin afterwards.
void test_engine_dispose(int jobs_before) {
  const auto engine = make_engine();
  std::atomic<int> done{0};
  std::atomic<int> unfinished{0};
  auto disposer = std::async(std::launch::async, [&] {
    while (done < jobs_before) std::this_thread::yield();
    engine->dispose();
    check(engine->kv_cache_bytes() == 0 && engine->weight_bytes() == 0, "memory is left");
  });
  run_clients([&](int client) {
    for (;;) {
      const int count = 1 + client * 15;
      try {
        const Client stream(engine->create_stream(kLength));
        std::vector<float> logits(kVocabSize);
        if (client % 2) {
          stream.begin_append(tokens_of(client, 0, count), logits.data());
        } else {
          stream->draw(tokens_of(client, 0, count), make_sampler(), 3);
        }
        ++unfinished;
        const auto error = code_of([&] { stream.wait(); });
        --unfinished;
        ++done;
        check(!error || error == ErrorCode::kDisposed, "a job failed");
        check(stream->position() == (error ? 0 : count), "the position");
      } catch (const Error& error) {
        check(error.code == ErrorCode::kDisposed, "a job could not begin");
        return;
      }
    }
  });
  disposer.get();
  engine->dispose();
  check(unfinished == 0, "a job never ended");
}

// More streams draw than fit in a batch, and a prompt comes: each batch takes a part of it, and all
// streams have their turn.
void test_crowd() {
  constexpr int kStreams = 150;
  StreamModel model;
  std::vector<Client> crowd;
  std::vector<float> logits(kVocabSize);
  const Client prompt = model.stream();
  const int before = model.backend->batches();
  model.hold_batch_of([&] {
    for (int i = 0; i < kStreams; ++i) {
      crowd.push_back(model.stream());
      crowd.back()->draw(std::vector{token_of(i, 0)}, make_sampler(), kLength);
    }
    prompt.begin_append(tokens_of(0, 0, 50), logits.data());
  });
  model.backend->hold(before + 6);  // one to hold the others, and ceil(50 / (128 / 8)) of them
  prompt.wait();
  for (const Client& stream : crowd) stream.wait_for_token();
  check(model.backend->batches() <= before + 6, "they waited longer than they must");
}

// Copies are made by the thread that runs the ops, before what begins later; one that fails takes
// the copy with it and nothing else.
void test_copies() {
  StreamModel model;
  const Client source = model.stream();
  source.append(tokens_of(0, 0, 20));
  const Client copy = source.fork();
  check(copy->position() == 20, "the position of a copy");
  const Logits of_source = source.append({token_of(0, 20)});
  check(copy.append({token_of(0, 20)}) == of_source, "a copy differs from its source");
  check(model.backend->copying_thread == model.backend->thread, "a copy was made beside the ops");

  const Client heir = source.fork();
  source->rewind(0);
  source.append(tokens_of(1, 0, 30));
  source->dispose();
  check(heir.append({5}) == copy.append({5}), "what its source did later changed a copy");

  model.backend->fails_to_copy = true;
  const auto fails = [](const Client& stream) {
    return code_of([&] { stream.append({1}); }) == ErrorCode::kInternal;
  };
  const Client broken = heir.fork();
  check(fails(broken), "the failure of a copy was lost");
  check(fails(broken.fork()), "a copy of a failed copy works");
  check(fails(broken), "a failed copy works the second time");
  check(!fails(heir), "a failed copy harmed its source");
}

// A new stream may need the memory of one that is disposed before the thread, which is in a batch,
// can give it back.
void test_memory_given_back() {
  StreamModel model;
  const Client disposed = model.stream();
  const std::weak_ptr<void> memory = model.backend->last_allocated;
  const Client other = model.stream();
  model.hold_batch_of([&] { other->draw(std::vector{1}, make_sampler(), 0); });
  disposed->dispose();
  check(!memory.expired(), "memory was given back beside a batch, although nobody needs it");
  model.backend->occupied = memory;
  const Client next = model.stream();
  check(memory.expired(), "a new stream did not give back what is not needed");
  model.backend->occupied = model.backend->last_allocated;
  check(code_of([&] { model.stream(); }) == ErrorCode::kOutOfMemory, "no memory is an error");
  model.backend->let_go();
  other.wait();
  next.append({1});
}

}  // namespace

void test_scheduler() {
  test("scheduler, many streams", [] { test_many(false); });
  test("scheduler, jobs stopped at random", [] { test_many(true); });
  test("scheduler, generations side by side", test_drawing);
  test("scheduler, copies of caches", test_copies);
  test("scheduler, memory given back", test_memory_given_back);
  test("scheduler, a prompt in a crowd", test_crowd);
  test("scheduler, disposed under way", [] {
    for (int jobs = 0; jobs < 40; jobs += 2) test_engine_dispose(jobs);
  });
}

}  // namespace openelm
