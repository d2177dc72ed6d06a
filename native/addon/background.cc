#include <utility>

#include "addon_data.h"

namespace openelm {

Napi::Promise AddonData::run_in_background(Napi::Env env, std::function<void()> work,
                                           std::function<Napi::Value(Napi::Env)> finish,
                                           std::function<void()> stop,
                                           std::shared_ptr<void> owned) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  const auto task = tasks_.emplace(tasks_.end());
  task->stop = std::move(stop);
  task->owned = std::move(owned);
  const auto ended =
      std::make_shared<Notice>(*this, [=, this, finish = std::move(finish)](Napi::Env env) {
        const std::exception_ptr error = task->error;
        task->thread.join();
        tasks_.erase(task);
        end_work(env);
        settle(env, deferred, error, finish);
      });
  auto run = [=, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      task->error = std::current_exception();
    }
    ended->post();
  };
  try {
    task->thread = std::thread(std::move(run));
  } catch (...) {
    tasks_.erase(task);
    throw;
  }
  begin_work(env);
  return deferred.Promise();
}

}  // namespace openelm
