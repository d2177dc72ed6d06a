#pragma once

#include <napi.h>

#include "../train/trainer.h"
#include "addon_data.h"

namespace openelm {

// NativeTrainer of lib/native-trainer.ts. While a call is under way the object keeps itself alive.
class TrainerWrap : public Napi::ObjectWrap<TrainerWrap> {
 public:
  static void init(Napi::Env env, Napi::Object exports);

  explicit TrainerWrap(const Napi::CallbackInfo& info);

 private:
  using Losses = std::function<std::vector<train::LossSums>()>;

  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value accumulate(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value backward(const Napi::CallbackInfo& info);
  Napi::Value next_leaf(const Napi::CallbackInfo& info);
  Napi::Value reset_magnitudes(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value step_together(const Napi::CallbackInfo& info);
  Napi::Value share(const Napi::CallbackInfo& info);
  Napi::Value shard(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  train::Trainer& idle() const;  // throws kBusy or kDisposed
  train::TrainingBatch read_batch(const Napi::Object& object) const;
  Napi::Value run(Napi::Env env, std::function<void()> work,
                  std::function<Napi::Value(Napi::Env)> finish);
  Napi::Value run_void(Napi::Env env, std::function<void()> work);
  Napi::Value run_step(Napi::Env env, std::function<double()> step);
  Napi::Value run_losses(Napi::Env env, Losses losses);

  std::shared_ptr<train::Trainer> trainer_;  // none after dispose()
  int vocab_size_ = 0;
  int max_tokens_ = 0;
  size_t evaluated_ = 0;  // sequences of the batch that backward() would be of
  bool busy_ = false;
};

}  // namespace openelm
