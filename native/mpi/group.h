#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "mpi_library.h"
#include "peers.h"

namespace openelm::mpi {

// The ranks that mpirun has started, of which this process is one. A thread of the group makes
// every call of MPI, from init to finalize; it never waits inside of MPI, which would keep a core
// busy.
//
// Each rank sends a heartbeat to rank 0 every few seconds, and rank 0 to each: while the group is
// watched, who has heard nothing for so long loses the group, and all that is under way throws
// Error{kRankLost}.
class Group final : public Peers {
 public:
  using Seconds = std::chrono::duration<double>;

  // Opens the library and waits for the other ranks. MPI can be started once in a process, so there
  // is one group, which lives until the process ends: later calls return it. Throws
  // Error{kDependencyNotFound} when there is no library, or one that does not know the launcher.
  static Group& join(const std::string& path, Seconds timeout);
  // The one that was joined. Throws Error{kInvalidArgument} without one.
  static Group& joined();

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& version() const { return library_->version(); }

  std::shared_ptr<Transfer> exchange(std::vector<Part> sends, std::vector<Part> receives) override;
  std::shared_ptr<Transfer> broadcast(void* data, size_t bytes) override;

  // A message of any length, to or from another rank. Those of two ranks come in order.
  class Message;
  std::shared_ptr<Message> send(int rank, std::vector<uint8_t> bytes);
  std::shared_ptr<Message> receive(int rank);

  // A run begins, or has ended on all ranks.
  void watch(bool is_running);

  // The process is about to exit with this code. Ends the process at once, and all others with it,
  // if a run is under way; otherwise waits for the others to leave as well.
  void leave(int code);

 private:
  class Operation;
  using Clock = std::chrono::steady_clock;
  enum class Wanted : uint8_t { kWork, kFinalize, kAbort };

  struct Heart {
    int rank;
    Clock::time_point heard;
    Request received{};
    Request sent{};
    bool is_sending = false;
    uint8_t in = 0;
  };

  Group(const std::string& path, Seconds timeout);
  void await_start();
  void run();
  void work();
  bool poll();
  void beat();
  void end();
  void fail(std::exception_ptr error);
  void sleep(int tries, Clock::time_point since);
  void add(const std::shared_ptr<Operation>& operation);

  const Seconds timeout_;
  std::unique_ptr<Library> library_;
  int rank_ = 0;
  int size_ = 1;

  std::mutex mutex_;                 // guards what follows, and the state of operations
  std::condition_variable wake_;     // the group's thread
  std::condition_variable settled_;  // who waits for an operation, or for the thread
  std::vector<std::shared_ptr<Operation>> incoming_;
  std::exception_ptr failure_;
  Wanted wanted_ = Wanted::kWork;
  int exit_code_ = 0;
  bool is_started_ = false;
  bool is_finished_ = false;
  bool is_running_ = false;
  bool was_running_ = false;

  // The group's thread's.
  std::list<std::shared_ptr<Operation>> active_;
  std::vector<Heart> hearts_;
  Clock::time_point next_beat_;
};

// What MPI does for one call of a group.
class Group::Operation : public Transfer {
 public:
  explicit Operation(Group& group) : group_(group) {}
  void wait() override;

 protected:
  friend class Group;
  // Asks MPI for it. The group's thread.
  virtual void begin(Library& library) = 0;
  // Whether all of it is done: otherwise it may have asked for more.
  virtual bool proceed(Library& library);

  void send(Library& library, const void* data, size_t bytes, int rank, int tag);
  void receive(Library& library, void* data, size_t bytes, int rank, int tag);

  Group& group_;
  std::vector<Request> requests_;
  size_t complete_ = 0;

 private:
  bool is_done_ = false;
  std::exception_ptr error_;
};

class Group::Message final : public Group::Operation {
 public:
  // To be sent, or received when there are none.
  Message(Group& group, int rank, bool is_sent, std::vector<uint8_t> bytes)
      : Operation(group), rank_(rank), is_sent_(is_sent), bytes_(std::move(bytes)) {}
  // After wait().
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  void begin(Library& library) override;
  bool proceed(Library& library) override;

  const int rank_;
  const bool is_sent_;
  uint64_t size_ = 0;
  bool knows_size_ = false;
  std::vector<uint8_t> bytes_;
};

}  // namespace openelm::mpi
