#pragma once

#include <functional>
#include <memory>

#include "simd/thread_pool.h"

namespace openelm {

// Threads for what the host does beside a GPU. They are started by the first work there is for more
// than one of them, and sleep between one and the next.
class HostThreads {
 public:
  // body(task) for every task in [0, tasks), on several threads. Returns when all are done, and
  // throws what the first of the tasks that failed threw. One caller at a time.
  void run(int tasks, const std::function<void(int)>& body);

 private:
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace openelm
