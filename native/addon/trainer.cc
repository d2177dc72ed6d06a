#include "trainer.h"

#include <algorithm>
#include <cstring>

#include "arguments.h"

namespace openelm {

using train::Array;

static Array parse_array(const std::string& name) {
  if (name == "weights") return Array::kWeights;
  if (name == "gradients") return Array::kGradients;
  if (name == "firstMoments") return Array::kFirstMoments;
  if (name == "secondMoments") return Array::kSecondMoments;
  throw Error(ErrorCode::kInvalidArgument, "unknown array " + name);
}

static train::AdamWOptions read_adamw_options(const Napi::Object& object) {
  train::AdamWOptions options;
  options.learning_rate = number(object, "learningRate");
  options.beta1 = number(object, "beta1");
  options.beta2 = number(object, "beta2");
  options.eps = number(object, "eps");
  options.weight_decay = number(object, "weightDecay");
  options.max_grad_norm = number(object, "maxGradNorm");
  options.step = int64_t(number(object, "step"));
  return options;
}

// The bytes of elements [begin, begin + bytes.length / element size) of an array.
static uint8_t* checked_range(train::Trainer& trainer, const std::string& array, double begin,
                              size_t bytes) {
  const size_t element = trainer.element_bytes();
  const size_t all = trainer.num_parameters() * element;
  if (!(begin >= 0) || begin * double(element) + double(bytes) > double(all)) {
    throw Error(ErrorCode::kInvalidArgument, "expected a range of parameters");
  }
  return static_cast<uint8_t*>(trainer.data(parse_array(array))) + size_t(begin) * element;
}

void TrainerWrap::init(Napi::Env env, Napi::Object exports) {
  exports.Set("Trainer", DefineClass(env, "Trainer",
                                     {
                                         InstanceMethod<&TrainerWrap::read>("read"),
                                         InstanceMethod<&TrainerWrap::write>("write"),
                                         InstanceMethod<&TrainerWrap::accumulate>("accumulate"),
                                         InstanceMethod<&TrainerWrap::evaluate>("evaluate"),
                                         InstanceMethod<&TrainerWrap::step>("step"),
                                         InstanceMethod<&TrainerWrap::cancel>("cancel"),
                                         InstanceMethod<&TrainerWrap::dispose>("dispose"),
                                     }));
}

// new Trainer(options)
TrainerWrap::TrainerWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&] {
    const auto object = info[0].As<Napi::Object>();
    train::TrainerOptions options;
    options.config = read_config(object.Get("config").As<Napi::Object>());
    options.threads = std::max(1, integer(object, "threads"));
    options.max_sequences = max_sequences_ = std::max(1, integer(object, "maxSequences"));
    options.sequence_length = sequence_length_ = std::max(1, integer(object, "sequenceLength"));
    options.recompute = boolean(object, "recompute");
    vocab_size_ = options.config.vocab_size;
    trainer_ = train::Trainer::create(options, boolean(object, "float64"));
  });
}

train::Trainer& TrainerWrap::idle() const {
  if (busy_) throw Error(ErrorCode::kBusy, "the trainer already has a call under way");
  if (!trainer_) throw Error(ErrorCode::kDisposed, "the trainer is disposed");
  return *trainer_;
}

// read(array, begin, to: Uint8Array): void
Napi::Value TrainerWrap::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto to = info[2].As<Napi::Uint8Array>();
    const uint8_t* from = checked_range(idle(), info[0].As<Napi::String>(),
                                        info[1].As<Napi::Number>(), to.ByteLength());
    std::memcpy(to.Data(), from, to.ByteLength());
    return info.Env().Undefined();
  });
}

// write(array, begin, from: Uint8Array): void
Napi::Value TrainerWrap::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto from = info[2].As<Napi::Uint8Array>();
    uint8_t* to = checked_range(idle(), info[0].As<Napi::String>(), info[1].As<Napi::Number>(),
                                from.ByteLength());
    std::memcpy(to, from.Data(), from.ByteLength());
    return info.Env().Undefined();
  });
}

// Ids of whole sequences, copied, for JavaScript may change its array meanwhile.
std::vector<int32_t> TrainerWrap::checked_ids(const Napi::Value& value, int min) const {
  const std::span<const int32_t> ids = int32s(value);
  const size_t size = ids.size();
  const size_t longest = size_t(max_sequences_) * sequence_length_;
  if (size == 0 || size > longest || size % sequence_length_ != 0) {
    throw Error(ErrorCode::kInvalidArgument, "expected from one to maxSequences whole sequences");
  }
  if (std::any_of(ids.begin(), ids.end(),
                  [&](int32_t id) { return id < min || id >= vocab_size_; })) {
    throw Error(ErrorCode::kInvalidArgument, "expected token ids of the vocabulary");
  }
  return {ids.begin(), ids.end()};
}

// The work's own error waits until the trainer is idle again.
Napi::Value TrainerWrap::run(Napi::Env env, std::function<void()> work,
                             std::function<Napi::Value(Napi::Env)> finish) {
  const auto error = std::make_shared<std::exception_ptr>();
  const Napi::Promise promise = AddonData::of(env).run_in_background(
      env,
      [=, work = std::move(work)] {
        try {
          work();
        } catch (...) {
          *error = std::current_exception();
        }
      },
      [=, this, finish = std::move(finish)](Napi::Env env) -> Napi::Value {
        busy_ = false;
        Unref();
        if (*error) std::rethrow_exception(*error);
        return finish(env);
      },
      [trainer = trainer_] { trainer->cancel(); });
  busy_ = true;
  Ref();
  return promise;
}

Napi::Value TrainerWrap::run_losses(Napi::Env env, Losses losses) {
  const auto sums = std::make_shared<train::LossSums>();
  return run(
      env, [=] { *sums = losses(); },
      [=](Napi::Env env) -> Napi::Value {
        auto object = Napi::Object::New(env);
        object.Set("crossEntropy", sums->cross_entropy);
        object.Set("squaredLse", sums->squared_lse);
        return object;
      });
}

// accumulate(tokens, targets, scale, zLoss): Promise<{ crossEntropy, squaredLse }>
Napi::Value TrainerWrap::accumulate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    auto tokens = checked_ids(info[0], 0);
    auto targets = checked_ids(info[1], -1);
    if (tokens.size() != targets.size()) {
      throw Error(ErrorCode::kInvalidArgument, "expected as many targets as tokens");
    }
    const int sequences = int(tokens.size()) / sequence_length_;
    const double scale = info[2].As<Napi::Number>();
    const double z_loss = info[3].As<Napi::Number>();
    return run_losses(info.Env(), [=, trainer = trainer_] {
      return trainer->accumulate(tokens.data(), targets.data(), sequences, scale, z_loss);
    });
  });
}

// evaluate(tokens, targets): Promise<{ crossEntropy, squaredLse }>
Napi::Value TrainerWrap::evaluate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    auto tokens = checked_ids(info[0], 0);
    auto targets = checked_ids(info[1], -1);
    if (tokens.size() != targets.size()) {
      throw Error(ErrorCode::kInvalidArgument, "expected as many targets as tokens");
    }
    const int sequences = int(tokens.size()) / sequence_length_;
    return run_losses(info.Env(), [=, trainer = trainer_] {
      return trainer->evaluate(tokens.data(), targets.data(), sequences);
    });
  });
}

// step(options): Promise<number>, the norm of the gradients
Napi::Value TrainerWrap::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    const train::AdamWOptions options = read_adamw_options(info[0].As<Napi::Object>());
    const auto norm = std::make_shared<double>();
    return run(
        info.Env(), [=, trainer = trainer_] { *norm = trainer->step(options); },
        [=](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *norm); });
  });
}

Napi::Value TrainerWrap::cancel(const Napi::CallbackInfo& info) {
  if (trainer_) trainer_->cancel();
  return info.Env().Undefined();
}

// dispose(): Promise<void>. Gigabytes take the system a while to take back, so a thread waits for
// it. A call under way holds the trainer too, and its memory goes when that call has ended.
Napi::Value TrainerWrap::dispose(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (trainer_) trainer_->cancel();
    const auto trainer = std::make_shared<std::shared_ptr<train::Trainer>>(std::move(trainer_));
    return AddonData::of(info.Env())
        .run_in_background(
            info.Env(), [trainer] { trainer->reset(); },
            [](Napi::Env env) -> Napi::Value { return env.Undefined(); }, [] {});
  });
}

}  // namespace openelm
