#include "containers/binding.h"

#include <dirent.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/async_pool.h"
#include "containers/process.h"
#include "containers/run_helper.h"

namespace insitu {
namespace {

// Whether the mount namespace is one that root of another user namespace than ours rules over.
bool has_root_of_its_own(int mounts) {
  const UniqueFd owner(::ioctl(mounts, NS_GET_USERNS));
  struct stat its, ours;
  return owner && ::fstat(owner.get(), &its) == 0 && ::stat("/proc/self/ns/user", &ours) == 0 &&
         its.st_ino != ours.st_ino;
}

// (pid: number) => ProcessIdentity | undefined. All of it is of one process, which lived meanwhile.
Napi::Value identify_process(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto pid = static_cast<pid_t>(info[0].As<Napi::Number>().Int32Value());
  const UniqueFd pidfd = open_pidfd(pid);
  if (!pidfd) return env.Undefined();
  const uint64_t start = start_of(pid);
  const UniqueFd mounts = open_mount_namespace(pid);
  const std::string cgroup = read_proc(pid, "cgroup");
  const std::string status = read_proc(pid, "status");
  const std::string users = read_proc(pid, "uid_map"), groups = read_proc(pid, "gid_map");
  const bool own_root = has_root_of_its_own(mounts.get());
  if (start == 0 || !is_alive(pidfd.get())) return env.Undefined();
  auto out = Napi::Object::New(env);
  out.Set("startTicks", static_cast<double>(start));
  out.Set("mountNamespace", std::to_string(namespace_id(mounts.get())));
  out.Set("cgroup", cgroup);
  out.Set("status", status);
  out.Set("ownRoot", own_root);
  out.Set("userIds", users);
  out.Set("groupIds", groups);
  return out;
}

struct Found {
  pid_t pid;
  uint64_t start;
};

// The oldest process in a mount namespace. Not our own helpers, which are there for a moment.
std::optional<Found> find_in_namespace(uint64_t id) {
  const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir("/proc"), ::closedir);
  std::optional<Found> oldest;
  while (const dirent* entry = all ? ::readdir(all.get()) : nullptr) {
    const auto pid = static_cast<pid_t>(::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0 || namespace_id(open_mount_namespace(pid).get()) != id) continue;
    if (parent_of(pid) == ::getpid()) continue;
    const uint64_t start = start_of(pid);
    if (start != 0 && (!oldest || start < oldest->start)) oldest = Found{pid, start};
  }
  return oldest;
}

// (lane: number, mountNamespace: string) => Promise<{pid, startTicks} | undefined>
Napi::Value find_process(const Napi::CallbackInfo& info) {
  const std::string id = info[1].As<Napi::String>().Utf8Value();
  return run_async(
      info.Env(), info[0].As<Napi::Number>().Uint32Value(),
      [id = ::strtoull(id.c_str(), nullptr, 10)] { return find_in_namespace(id); },
      [](Napi::Env env, const std::optional<Found>& found) -> Napi::Value {
        if (!found) return env.Undefined();
        auto out = Napi::Object::New(env);
        out.Set("pid", found->pid);
        out.Set("startTicks", static_cast<double>(found->start));
        return out;
      });
}

// Tells once when a process has ended. Does not keep the event loop alive.
class ProcessWatch : public Napi::ObjectWrap<ProcessWatch> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ProcessWatch", {InstanceMethod<&ProcessWatch::close>("close")});
  }

  // (pid: number, startTicks: number, onEnd: () => void). Throws when there is no such process any more.
  explicit ProcessWatch(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProcessWatch>(info) {
    const Napi::Env env = info.Env();
    const auto pid = static_cast<pid_t>(info[0].As<Napi::Number>().Int32Value());
    const auto start = static_cast<uint64_t>(info[1].As<Napi::Number>().DoubleValue());
    UniqueFd pidfd = open_process(pid, start);
    if (!pidfd) throw Napi::Error::New(env, "process " + std::to_string(pid) + " has ended");
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "no event loop");
    poll_ = new Poll{{}, std::move(pidfd), this};
    poll_->handle.data = poll_;
    if (const int error = uv_poll_init(loop, &poll_->handle, poll_->pidfd.get()); error != 0) {
      delete poll_;
      throw Napi::Error::New(env, uv_strerror(error));
    }
    on_end_ = Napi::Persistent(info[2].As<Napi::Function>());
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll_->handle));
    uv_poll_start(&poll_->handle, UV_READABLE, [](uv_poll_t* handle, int, int) {
      if (ProcessWatch* const watch = static_cast<Poll*>(handle->data)->watch) watch->ended();
    });
    Ref();  // until it has ended or is closed
  }

  ~ProcessWatch() override { stop(); }

 private:
  // Outlives the watch until the loop has let go of it.
  struct Poll {
    uv_poll_t handle;
    UniqueFd pidfd;
    ProcessWatch* watch;
  };

  void ended() {
    const Napi::HandleScope scope(Env());
    const Napi::FunctionReference on_end = std::move(on_end_);
    release();
    on_end.MakeCallback(Env().Global(), {});
  }

  void close(const Napi::CallbackInfo&) { release(); }

  void release() {
    if (poll_ == nullptr) return;
    stop();
    on_end_.Reset();
    Unref();
  }

  void stop() {
    if (poll_ == nullptr) return;
    Poll* const poll = std::exchange(poll_, nullptr);
    poll->watch = nullptr;
    uv_poll_stop(&poll->handle);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle),
             [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
  }

  Poll* poll_ = nullptr;
  Napi::FunctionReference on_end_;
};

// (lane: number, program: string, words: string[], root: number) => Promise<{status, out, err}>. One lane waits for
// itself.
Napi::Value run_attach(const Napi::CallbackInfo& info) {
  std::vector<std::string> words;
  const auto list = info[2].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i)
    words.push_back(list.Get(i).As<Napi::String>().Utf8Value());
  return run_async(
      info.Env(), info[0].As<Napi::Number>().Uint32Value(),
      [program = info[1].As<Napi::String>().Utf8Value(), words = std::move(words),
       root = info[3].As<Napi::Number>().Int32Value()] { return run_helper(program, words, root); },
      [](Napi::Env env, const Ended& ended) -> Napi::Value {
        auto result = Napi::Object::New(env);
        result.Set("status", ended.status);
        result.Set("out", ended.out);
        result.Set("err", ended.err);
        return result;
      });
}

// (lane: number, program: string) => Promise<void>
Napi::Value prepare_attach(const Napi::CallbackInfo& info) {
  return run_async(
      info.Env(), info[0].As<Napi::Number>().Uint32Value(),
      [program = info[1].As<Napi::String>().Utf8Value()] {
        prepare_helper(program);
        return true;
      },
      [](Napi::Env env, bool) -> Napi::Value { return env.Undefined(); });
}

}  // namespace

void register_containers(Napi::Env env, Napi::Object exports) {
  exports.Set("ProcessWatch", ProcessWatch::define(env));
  exports.Set("runAttach", Napi::Function::New(env, run_attach, "runAttach"));
  exports.Set("prepareAttach", Napi::Function::New(env, prepare_attach, "prepareAttach"));
  exports.Set("findProcess", Napi::Function::New(env, find_process, "findProcess"));
  exports.Set("identifyProcess", Napi::Function::New(env, identify_process, "identifyProcess"));
}

}  // namespace insitu
