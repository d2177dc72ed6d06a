#include "host_threads.h"

#include <system_error>

#include "simd/cpu_info.h"

namespace openelm {

// Where no thread can be started, the caller's own has to do.
static std::unique_ptr<ThreadPool> start_threads() {
  try {
    return std::make_unique<ThreadPool>(cpu_info().physical_cores);
  } catch (const std::system_error&) {
    return std::make_unique<ThreadPool>(1);
  }
}

void HostThreads::run(int tasks, const std::function<void(int)>& body) {
  if (tasks > 1 && !pool_) pool_ = start_threads();
  if (pool_) {
    pool_->run_throwing(tasks, [&](int task, int) { body(task); });
  } else if (tasks == 1) {
    body(0);
  }
}

}  // namespace openelm
