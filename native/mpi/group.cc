#include "group.h"

#include <algorithm>
#include <cstdlib>

#include "../error.h"

namespace openelm::mpi {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMessageTag = 1;
constexpr int kExchangeTag = 2;
constexpr int kHeartbeatTag = 3;

constexpr int kEagerTries = 200;
constexpr auto kAbortLimit = seconds(3);

// MPI can hang while it aborts or finalizes, when a cable is cut.
static void exit_after(std::chrono::duration<double> limit, int code) {
  std::thread([=] {
    std::this_thread::sleep_for(limit);
    std::_Exit(code);
  }).detach();
}

void Group::Operation::wait() {
  std::unique_lock lock(group_.mutex_);
  group_.settled_.wait(lock, [&] { return is_done_ || error_; });
  if (!is_done_) std::rethrow_exception(error_);
}

bool Group::Operation::proceed(Library& library) {
  while (complete_ < requests_.size() && library.test(requests_[complete_])) ++complete_;
  return complete_ == requests_.size();
}

void Group::Operation::send(Library& library, const void* data, size_t bytes, int rank, int tag) {
  for (size_t begin = 0; begin < bytes; begin += kMaxCount) {
    const size_t count = std::min(kMaxCount, bytes - begin);
    requests_.push_back(library.send(static_cast<const uint8_t*>(data) + begin, count, rank, tag));
  }
}

void Group::Operation::receive(Library& library, void* data, size_t bytes, int rank, int tag) {
  for (size_t begin = 0; begin < bytes; begin += kMaxCount) {
    const size_t count = std::min(kMaxCount, bytes - begin);
    requests_.push_back(library.receive(static_cast<uint8_t*>(data) + begin, count, rank, tag));
  }
}

void Group::Message::begin(Library& library) {
  if (is_sent_) {
    size_ = bytes_.size();
    send(library, &size_, sizeof(size_), rank_, kMessageTag);
    send(library, bytes_.data(), bytes_.size(), rank_, kMessageTag);
  } else {
    receive(library, &size_, sizeof(size_), rank_, kMessageTag);
  }
}

bool Group::Message::proceed(Library& library) {
  if (!Operation::proceed(library)) return false;
  if (is_sent_ || knows_size_) return true;
  knows_size_ = true;
  bytes_.resize(size_);
  receive(library, bytes_.data(), bytes_.size(), rank_, kMessageTag);
  return Operation::proceed(library);
}

namespace {

// So that not all send to the same rank at a time: first to the next one. Parts of one rank keep
// their order, by which MPI tells them apart.
std::vector<Peers::Part> by_distance(const std::vector<Peers::Part>& parts, int rank, int size) {
  std::vector<Peers::Part> sorted;
  for (int distance = 0; distance < size; ++distance) {
    for (const Peers::Part& part : parts) {
      if ((part.rank - rank + size) % size == distance) sorted.push_back(part);
    }
  }
  return sorted;
}

}  // namespace

std::shared_ptr<Transfer> Group::exchange(std::vector<Part> sends, std::vector<Part> receives) {
  struct Exchange final : Operation {
    Exchange(Group& group, std::vector<Part> sends, std::vector<Part> receives)
        : Operation(group), sends(std::move(sends)), receives(std::move(receives)) {}
    void begin(Library& library) override {
      for (const Part& part : receives) {
        receive(library, part.data, part.bytes, part.rank, kExchangeTag);
      }
      for (const Part& part : sends) send(library, part.data, part.bytes, part.rank, kExchangeTag);
    }
    std::vector<Part> sends;
    std::vector<Part> receives;
  };
  sends = by_distance(sends, rank_, size_);
  const auto operation = std::make_shared<Exchange>(*this, std::move(sends), std::move(receives));
  add(operation);
  return operation;
}

std::shared_ptr<Transfer> Group::broadcast(void* data, size_t bytes) {
  struct Broadcast final : Operation {
    Broadcast(Group& group, uint8_t* data, size_t bytes)
        : Operation(group), data(data), bytes(bytes) {}
    void begin(Library& library) override { next(library); }
    // One part after the other, so that heartbeats find their way between them.
    bool proceed(Library& library) override {
      while (Operation::proceed(library)) {
        if (sent == bytes) return true;
        next(library);
      }
      return false;
    }
    void next(Library& library) {
      const size_t count = std::min(kMaxCount / 16, bytes - sent);
      if (count > 0) requests_.push_back(library.broadcast(data + sent, count));
      sent += count;
    }
    uint8_t* data;
    size_t bytes;
    size_t sent = 0;
  };
  const auto operation = std::make_shared<Broadcast>(*this, static_cast<uint8_t*>(data), bytes);
  add(operation);
  return operation;
}

std::shared_ptr<Group::Message> Group::send(int rank, std::vector<uint8_t> bytes) {
  const auto operation = std::make_shared<Message>(*this, rank, true, std::move(bytes));
  add(operation);
  return operation;
}

std::shared_ptr<Group::Message> Group::receive(int rank) {
  const auto operation = std::make_shared<Message>(*this, rank, false, std::vector<uint8_t>());
  add(operation);
  return operation;
}

void Group::add(const std::shared_ptr<Operation>& operation) {
  const std::lock_guard lock(mutex_);
  if (failure_) {
    operation->error_ = failure_;
    return;
  }
  incoming_.push_back(operation);
  wake_.notify_one();
}

// Never destroyed: its thread lives until the process ends.
static std::atomic<Group*> the_group{nullptr};

Group& Group::joined() {
  if (Group* group = the_group) return *group;
  throw Error(ErrorCode::kInvalidArgument, "expected a group to be joined before");
}

Group& Group::join(const std::string& path, Seconds timeout) {
  static std::mutex joining;
  const std::lock_guard lock(joining);
  if (!the_group) {
    the_group = new Group(path, timeout);
    std::thread([group = the_group.load()] { group->run(); }).detach();
  }
  the_group.load()->await_start();
  return *the_group;
}

Group::Group(const std::string& path, Seconds timeout)
    : timeout_(timeout), library_(open_library(path)) {}

void Group::await_start() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [&] { return is_started_ || failure_; });
  if (failure_) std::rethrow_exception(failure_);
}

void Group::run() {
  try {
    library_->init();
    rank_ = library_->rank();
    size_ = library_->size();
    const LauncherSize expected = launcher_size();
    if (!expected.variable.empty() && expected.size != size_) {
      library_->finalize();
      throw Error(ErrorCode::kDependencyNotFound,
                  "the launcher says " + expected.variable + "=" + std::to_string(expected.size) +
                      ", but " + library_->version() + " of " + library_->path() + " sees " +
                      std::to_string(size_) +
                      ": they do not belong together; under srun, name its --mpi, and name the "
                      "launcher's library in OPENELM_MPI");
    }
    for (int rank = 0; rank < size_; ++rank) {
      if (rank != rank_ && (rank_ == 0 || rank == 0)) hearts_.push_back({rank, Clock::now()});
    }
    for (Heart& heart : hearts_) {
      heart.received = library_->receive(&heart.in, 1, heart.rank, kHeartbeatTag);
    }
    {
      const std::lock_guard lock(mutex_);
      is_started_ = true;
      settled_.notify_all();
    }
    work();
  } catch (...) {
    fail(std::current_exception());
  }
  end();
}

// Until the group is lost or left.
void Group::work() {
  int tries = 0;
  Clock::time_point since = Clock::now();
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (wanted_ != Wanted::kWork) return;
      if (!incoming_.empty()) tries = 0;
      for (auto& operation : incoming_) active_.push_back(std::move(operation));
      incoming_.clear();
    }
    if (poll()) tries = 0;
    beat();
    if (tries == 0) since = Clock::now();
    sleep(++tries, since);
  }
}

// Whether an operation was begun or is complete.
bool Group::poll() {
  bool has_moved = false;
  for (auto it = active_.begin(); it != active_.end();) {
    Operation& operation = **it;
    if (operation.requests_.empty()) {
      operation.begin(*library_);
      has_moved = true;
    }
    const size_t before = operation.complete_;
    const bool is_done = operation.proceed(*library_);
    has_moved = has_moved || operation.complete_ != before;
    if (!is_done) {
      ++it;
      continue;
    }
    has_moved = true;
    const std::lock_guard lock(mutex_);
    operation.is_done_ = true;
    settled_.notify_all();
    it = active_.erase(it);
  }
  return has_moved;
}

// MPI moves bytes only while it is called, and to call it all the time would cost a core.
void Group::sleep(int tries, Clock::time_point since) {
  if (tries < kEagerTries && !active_.empty()) {
    std::this_thread::yield();
    return;
  }
  const bool waits_long = active_.empty() || Clock::now() - since > seconds(1);
  const int doublings = std::clamp(tries - kEagerTries, 0, 8);
  const auto pause = waits_long ? microseconds(1000) : microseconds(std::min(200, 1 << doublings));
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, pause, [&] { return !incoming_.empty() || wanted_ != Wanted::kWork; });
}

void Group::beat() {
  static const uint8_t byte = 0;
  const auto now = Clock::now();
  bool is_running = false;
  bool begins = false;
  {
    const std::lock_guard lock(mutex_);
    is_running = is_running_;
    begins = is_running_ && !was_running_;
    was_running_ = is_running_;
  }
  const bool is_due = now >= next_beat_;
  if (is_due) {
    next_beat_ =
        now + std::chrono::duration_cast<Clock::duration>(std::min(Seconds(5), timeout_ / 8));
  }
  for (Heart& heart : hearts_) {
    if (begins) heart.heard = now;
    if (library_->test(heart.received)) {
      heart.heard = now;
      heart.received = library_->receive(&heart.in, 1, heart.rank, kHeartbeatTag);
    }
    if (heart.is_sending && library_->test(heart.sent)) heart.is_sending = false;
    if (is_due && !heart.is_sending) {
      heart.sent = library_->send(&byte, 1, heart.rank, kHeartbeatTag);
      heart.is_sending = true;
    }
    if (is_running && now - heart.heard > timeout_) {
      throw Error(ErrorCode::kRankLost,
                  "rank " + std::to_string(heart.rank) + " has ended or does not answer");
    }
  }
}

// From now on no heartbeats are sent, so that the others notice as well.
void Group::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  failure_ = error;
  for (const auto& operation : active_) operation->error_ = error;
  for (const auto& operation : incoming_) operation->error_ = error;
  settled_.notify_all();
}

void Group::end() {
  std::unique_lock lock(mutex_);
  if (failure_ && !is_started_) {
    is_finished_ = true;
    settled_.notify_all();
    return;
  }
  wake_.wait(lock, [&] { return wanted_ != Wanted::kWork; });
  const bool aborts = wanted_ == Wanted::kAbort;
  lock.unlock();
  try {
    if (aborts) library_->abort(exit_code_);
    for (Heart& heart : hearts_) library_->cancel(heart.received);
    library_->finalize();
  } catch (...) {  // the process exits anyway
  }
  fail(std::make_exception_ptr(Error(ErrorCode::kRankLost, "this process has left the others")));
  lock.lock();
  is_finished_ = true;
  settled_.notify_all();
}

void Group::watch(bool is_running) {
  const std::lock_guard lock(mutex_);
  is_running_ = is_running;
  wake_.notify_one();
}

void Group::leave(int code) {
  std::unique_lock lock(mutex_);
  if (is_finished_) return;
  const bool aborts = is_running_ || failure_;
  exit_code_ = aborts && code == 0 ? 1 : code;
  wanted_ = aborts ? Wanted::kAbort : Wanted::kFinalize;
  wake_.notify_all();
  exit_after(aborts ? Seconds(kAbortLimit) : timeout_, exit_code_);
  settled_.wait(lock, [&] { return is_finished_; });
  if (aborts) std::_Exit(exit_code_);
}

}  // namespace openelm::mpi
