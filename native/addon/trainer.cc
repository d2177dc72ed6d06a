#include "trainer.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "../mpi/group.h"
#include "arguments.h"

namespace openelm {

using train::Array;

static Array parse_array(const std::string& name) {
  if (name == "weights") return Array::kWeights;
  if (name == "gradients") return Array::kGradients;
  if (name == "firstMoments") return Array::kFirstMoments;
  if (name == "secondMoments") return Array::kSecondMoments;
  if (name == "frozen") return Array::kFrozen;
  throw Error(ErrorCode::kInvalidArgument, "unknown array " + name);
}

static train::Module parse_module(const std::string& name) {
  if (name == "token_embeddings") return train::Module::kEmbedding;
  if (name == "qkv_proj") return train::Module::kQkvProj;
  if (name == "out_proj") return train::Module::kOutProj;
  if (name == "proj_1") return train::Module::kProj1;
  if (name == "proj_2") return train::Module::kProj2;
  throw Error(ErrorCode::kInvalidArgument, "unknown module " + name);
}

static train::AdapterOptions read_adapter_options(const Napi::Object& object) {
  train::AdapterOptions options;
  options.dora = boolean(object, "dora");
  options.dropout = number(object, "dropout");
  const auto targets = object.Get("targets").As<Napi::Array>();
  for (uint32_t i = 0; i < targets.Length(); ++i) {
    const auto target = targets.Get(i).As<Napi::Object>();
    options.targets.push_back({integer(target, "layer"), parse_module(text(target, "module")),
                               integer(target, "rank"), number(target, "scale")});
  }
  return options;
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
  const Array which = parse_array(array);
  const size_t all = trainer.size(which) * element;
  if (!(begin >= 0) || begin * double(element) + double(bytes) > double(all)) {
    throw Error(ErrorCode::kInvalidArgument, "expected a range of parameters");
  }
  return static_cast<uint8_t*>(trainer.data(which)) + size_t(begin) * element;
}

void TrainerWrap::init(Napi::Env env, Napi::Object exports) {
  exports.Set("Trainer",
              DefineClass(env, "Trainer",
                          {
                              InstanceMethod<&TrainerWrap::read>("read"),
                              InstanceMethod<&TrainerWrap::write>("write"),
                              InstanceMethod<&TrainerWrap::load>("load"),
                              InstanceMethod<&TrainerWrap::accumulate>("accumulate"),
                              InstanceMethod<&TrainerWrap::evaluate>("evaluate"),
                              InstanceMethod<&TrainerWrap::backward>("backward"),
                              InstanceMethod<&TrainerWrap::next_leaf>("nextLeaf"),
                              InstanceMethod<&TrainerWrap::reset_magnitudes>("resetMagnitudes"),
                              InstanceMethod<&TrainerWrap::step>("step"),
                              InstanceMethod<&TrainerWrap::step_together>("stepTogether"),
                              InstanceMethod<&TrainerWrap::share>("share"),
                              InstanceMethod<&TrainerWrap::shard>("shard"),
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
    if (object.Has("adapter")) {
      options.adapter = read_adapter_options(object.Get("adapter").As<Napi::Object>());
    }
    if (object.Has("frozenDtype")) {
      options.frozen_dtype = parse_dtype(text(object, "frozenDtype"));
    }
    options.max_tokens = max_tokens_ = std::max(1, integer(object, "maxTokens"));
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

// load(tensors): Promise<void>
Napi::Value TrainerWrap::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    std::vector<TensorArguments> tensors;
    const auto given = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < given.Length(); ++i) {
      tensors.push_back(read_tensor(given.Get(i).As<Napi::Object>()));
    }
    return run_void(info.Env(),
                    [=, trainer = trainer_] { trainer->load(open_tensors(tensors, false)); });
  });
}

static std::vector<int32_t> copy(const Napi::Value& value) {
  const std::span<const int32_t> ids = int32s(value);
  return {ids.begin(), ids.end()};
}

static bool all_between(const std::vector<int32_t>& values, int min, int max) {
  return std::all_of(values.begin(), values.end(),
                     [&](int32_t value) { return value >= min && value <= max; });
}

// { tokens, targets, lengths }, copied, for JavaScript may change its arrays meanwhile.
train::TrainingBatch TrainerWrap::read_batch(const Napi::Object& object) const {
  train::TrainingBatch batch{copy(object.Get("tokens")), copy(object.Get("targets")),
                             copy(object.Get("lengths"))};
  const size_t size = batch.tokens.size();
  if (size == 0 || size > size_t(max_tokens_) || batch.targets.size() != size) {
    throw Error(ErrorCode::kInvalidArgument,
                "expected from one to maxTokens tokens, and as many targets");
  }
  if (!all_between(batch.tokens, 0, vocab_size_ - 1) ||
      !all_between(batch.targets, -1, vocab_size_ - 1)) {
    throw Error(ErrorCode::kInvalidArgument, "expected token ids of the vocabulary");
  }
  if (!all_between(batch.lengths, 1, max_tokens_) ||
      std::accumulate(batch.lengths.begin(), batch.lengths.end(), size_t(0)) != size) {
    throw Error(ErrorCode::kInvalidArgument, "expected the lengths of all sequences");
  }
  return batch;
}

// { scales, zLoss, seed, step, firstExample } for so many sequences.
static train::GradientOptions read_gradient_options(const Napi::Object& object, size_t sequences) {
  train::GradientOptions options;
  const auto scales = object.Get("scales").As<Napi::Float64Array>();
  options.scales.assign(scales.Data(), scales.Data() + scales.ElementLength());
  if (options.scales.size() != sequences) {
    throw Error(ErrorCode::kInvalidArgument, "expected a scale for each sequence");
  }
  options.z_loss = number(object, "zLoss");
  options.seed = uint64_t(int64(object, "seed"));
  options.step = uint64_t(int64(object, "step"));
  options.first_example = uint64_t(int64(object, "firstExample"));
  return options;
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

Napi::Value TrainerWrap::run_void(Napi::Env env, std::function<void()> work) {
  return run(env, std::move(work), [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

Napi::Value TrainerWrap::run_losses(Napi::Env env, Losses losses) {
  const auto sums = std::make_shared<std::vector<train::LossSums>>();
  return run(
      env, [=] { *sums = losses(); },
      [=](Napi::Env env) -> Napi::Value {
        auto cross_entropy = Napi::Float64Array::New(env, sums->size());
        auto squared_lse = Napi::Float64Array::New(env, sums->size());
        for (size_t i = 0; i < sums->size(); ++i) {
          cross_entropy[i] = (*sums)[i].cross_entropy;
          squared_lse[i] = (*sums)[i].squared_lse;
        }
        auto object = Napi::Object::New(env);
        object.Set("crossEntropy", cross_entropy);
        object.Set("squaredLse", squared_lse);
        return object;
      });
}

// accumulate(batch, gradientOptions): Promise<{ crossEntropy, squaredLse }>
Napi::Value TrainerWrap::accumulate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    const train::TrainingBatch batch = read_batch(info[0].As<Napi::Object>());
    const train::GradientOptions options =
        read_gradient_options(info[1].As<Napi::Object>(), batch.lengths.size());
    evaluated_ = 0;
    return run_losses(info.Env(),
                      [=, trainer = trainer_] { return trainer->accumulate(batch, options); });
  });
}

// evaluate(batch, withAdapter): Promise<{ crossEntropy, squaredLse }>
Napi::Value TrainerWrap::evaluate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    const train::TrainingBatch batch = read_batch(info[0].As<Napi::Object>());
    const bool adapted = info[1].As<Napi::Boolean>();
    evaluated_ = adapted ? batch.lengths.size() : 0;
    return run_losses(info.Env(),
                      [=, trainer = trainer_] { return trainer->evaluate(batch, adapted); });
  });
}

// backward(gradientOptions): Promise<void>
Napi::Value TrainerWrap::backward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    if (evaluated_ == 0) {
      throw Error(ErrorCode::kInvalidArgument, "expected a batch to be evaluated before");
    }
    const train::GradientOptions options =
        read_gradient_options(info[0].As<Napi::Object>(), evaluated_);
    return run_void(info.Env(), [=, trainer = trainer_] { trainer->backward(options); });
  });
}

// nextLeaf(): Promise<void>
Napi::Value TrainerWrap::next_leaf(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    return run_void(info.Env(), [trainer = trainer_] { trainer->next_leaf(); });
  });
}

// resetMagnitudes(): Promise<void>
Napi::Value TrainerWrap::reset_magnitudes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    return run_void(info.Env(), [trainer = trainer_] { trainer->reset_magnitudes(); });
  });
}

// step(options): Promise<number>, the norm of the gradients
Napi::Value TrainerWrap::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    evaluated_ = 0;
    const train::AdamWOptions options = read_adamw_options(info[0].As<Napi::Object>());
    return run_step(info.Env(), [=, trainer = trainer_] { return trainer->step(options); });
  });
}

Napi::Value TrainerWrap::run_step(Napi::Env env, std::function<double()> step) {
  const auto norm = std::make_shared<double>();
  return run(
      env, [=] { *norm = step(); },
      [=](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *norm); });
}

// stepTogether(options): Promise<number>, on all ranks of the group that was joined
Napi::Value TrainerWrap::step_together(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    evaluated_ = 0;
    const train::AdamWOptions options = read_adamw_options(info[0].As<Napi::Object>());
    mpi::Group& group = mpi::Group::joined();
    return run_step(info.Env(),
                    [=, &group, trainer = trainer_] { return trainer->step(group, options); });
  });
}

// share(withFrozen): Promise<void>, on all ranks
Napi::Value TrainerWrap::share(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    idle();
    const bool with_frozen = info[0].As<Napi::Boolean>();
    mpi::Group& group = mpi::Group::joined();
    return run_void(info.Env(),
                    [=, &group, trainer = trainer_] { trainer->share(group, with_frozen); });
  });
}

// shard(rank, ranks): [begin, end]
Napi::Value TrainerWrap::shard(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto [begin, end] = idle().shard(info[0].As<Napi::Number>().Int32Value(),
                                           std::max(1, info[1].As<Napi::Number>().Int32Value()));
    auto range = Napi::Array::New(info.Env(), 2);
    range.Set(uint32_t(0), Napi::Number::New(info.Env(), double(begin)));
    range.Set(uint32_t(1), Napi::Number::New(info.Env(), double(end)));
    return Napi::Value(range);
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
