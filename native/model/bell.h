#pragma once

#include <condition_variable>
#include <mutex>

namespace openelm {

// Wakes a thread that waits for work. A ring while nobody waits is kept until somebody does. Any
// thread may ring, also with other locks held: the bell takes none but its own.
class Bell {
 public:
  void ring() {
    {
      std::lock_guard lock(mutex_);
      is_rung_ = true;
    }
    changed_.notify_one();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_rung_; });
    is_rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_rung_ = false;  // guarded by mutex_
};

}  // namespace openelm
