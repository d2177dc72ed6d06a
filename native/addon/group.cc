#include "group.h"

#include <algorithm>
#include <mutex>

#include "../mpi/group.h"
#include "addon_data.h"

namespace openelm {

using mpi::Group;

// MPI is the process's, not an environment's: the first one that joins keeps it. When it ends in
// the middle of a run, as a worker that is terminated, so does the process, for the others wait.
static std::mutex owning;
static napi_env owner = nullptr;

static void own(Napi::Env env) {
  const std::lock_guard lock(owning);
  if (owner == napi_env(env)) return;
  if (owner) throw Error(ErrorCode::kBusy, "MPI is in use by another thread of this process");
  owner = env;
  env.AddCleanupHook([] {
    try {
      Group::joined().leave(0);
    } catch (...) {  // nothing was joined
    }
  });
}

static Group& owned(Napi::Env env) {
  own(env);
  return Group::joined();
}

// joinGroup(path, timeoutSeconds): Promise<{ rank, size, version }>
static Napi::Value join_group(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    own(env);
    const std::string path = info[0].As<Napi::String>();
    const double timeout = info[1].As<Napi::Number>();
    return AddonData::of(env).run_in_background(
        env, [=] { Group::join(path, Group::Seconds(timeout)); },
        [](Napi::Env env) -> Napi::Value {
          const Group& group = Group::joined();
          auto object = Napi::Object::New(env);
          object.Set("rank", group.rank());
          object.Set("size", group.size());
          object.Set("version", group.version());
          return object;
        },
        [] {});
  });
}

static int other_rank(const Group& group, const Napi::Value& value) {
  const int rank = value.As<Napi::Number>();
  if (rank >= 0 && rank < group.size() && rank != group.rank()) return rank;
  throw Error(ErrorCode::kInvalidArgument, "expected another rank");
}

// sendToRank(rank, bytes): Promise<void>
static Napi::Value send_to_rank(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Group& group = owned(env);
    const auto bytes = info[1].As<Napi::Uint8Array>();
    const auto message =
        group.send(other_rank(group, info[0]), {bytes.Data(), bytes.Data() + bytes.ByteLength()});
    return AddonData::of(env).run_in_background(
        env, [=] { message->wait(); }, [](Napi::Env env) -> Napi::Value { return env.Undefined(); },
        [] {});
  });
}

// receiveFromRank(rank): Promise<Uint8Array>
static Napi::Value receive_from_rank(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Group& group = owned(env);
    const auto message = group.receive(other_rank(group, info[0]));
    return AddonData::of(env).run_in_background(
        env, [=] { message->wait(); },
        [=](Napi::Env env) -> Napi::Value {
          const std::vector<uint8_t>& bytes = message->bytes();
          const Napi::Object array = new_array(env, "Uint8Array", bytes.size());
          std::copy(bytes.begin(), bytes.end(), array.As<Napi::Uint8Array>().Data());
          return array;
        },
        [] {});
  });
}

// watchRanks(isRunning): void
static Napi::Value watch_ranks(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    owned(info.Env()).watch(info[0].As<Napi::Boolean>());
    return info.Env().Undefined();
  });
}

// leaveGroup(exitCode): void
static Napi::Value leave_group(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    owned(info.Env()).leave(info[0].As<Napi::Number>());
    return info.Env().Undefined();
  });
}

// mpiLibraries(): { path, version }[]
static Napi::Value mpi_libraries(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    auto list = Napi::Array::New(env);
    for (const auto& [path, version] : mpi::list_libraries()) {
      auto object = Napi::Object::New(env);
      object.Set("path", path);
      object.Set("version", version);
      list.Set(list.Length(), object);
    }
    return list;
  });
}

// launcherSize(): { variable, size }
static Napi::Value launcher_size(const Napi::CallbackInfo& info) {
  const auto [variable, size] = mpi::launcher_size();
  auto object = Napi::Object::New(info.Env());
  object.Set("variable", variable);
  object.Set("size", size);
  return object;
}

void init_group(Napi::Env env, Napi::Object exports) {
  const auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("joinGroup", join_group);
  set("sendToRank", send_to_rank);
  set("receiveFromRank", receive_from_rank);
  set("watchRanks", watch_ranks);
  set("leaveGroup", leave_group);
  set("mpiLibraries", mpi_libraries);
  set("launcherSize", launcher_size);
}

}  // namespace openelm
