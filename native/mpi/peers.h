#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace openelm::mpi {

// Bytes under way between processes. The memory that they come from or go to must live until the
// wait is over.
class Transfer {
 public:
  virtual ~Transfer() = default;
  // Returns once all has been sent and received. Throws Error{kRankLost}.
  virtual void wait() = 0;
};

// The processes that share a run, by their ranks from 0. All of them make the same calls in the
// same order; nothing is added up here.
class Peers {
 public:
  struct Part {
    int rank;
    void* data;
    size_t bytes;  // the same on both sides
  };

  virtual ~Peers() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::shared_ptr<Transfer> exchange(std::vector<Part> sends,
                                             std::vector<Part> receives) = 0;
  // From rank 0 to all.
  virtual std::shared_ptr<Transfer> broadcast(void* data, size_t bytes) = 0;
};

}  // namespace openelm::mpi
