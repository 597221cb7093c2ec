#include "containers/binding.h"

#include <sys/ioctl.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "containers/process.h"

namespace insitu {
namespace {

// Of a mount namespace, never given to another (Linux 6.11); 0 when it cannot be told.
uint64_t namespace_id(pid_t pid) {
  constexpr unsigned long kGetMountNamespaceId = _IOR(0xb7, 0x5, uint64_t);
  const UniqueFd fd(
      ::open(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
  uint64_t id = 0;
  if (!fd || ::ioctl(fd.get(), kGetMountNamespaceId, &id) != 0) return 0;
  return id;
}

// (pid: number) => ProcessIdentity | undefined. All of it is of one process, which lived meanwhile.
Napi::Value identify_process(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto pid = static_cast<pid_t>(info[0].As<Napi::Number>().Int32Value());
  const UniqueFd pidfd = open_pidfd(pid);
  if (!pidfd) return env.Undefined();
  const uint64_t start = start_of(pid);
  const uint64_t mounts = namespace_id(pid);
  const std::string cgroup = read_proc(pid, "cgroup");
  if (start == 0 || !is_alive(pidfd.get())) return env.Undefined();
  auto out = Napi::Object::New(env);
  out.Set("startTicks", static_cast<double>(start));
  out.Set("mountNamespace", std::to_string(mounts));
  out.Set("cgroup", cgroup);
  return out;
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

}  // namespace

void register_containers(Napi::Env env, Napi::Object exports) {
  exports.Set("ProcessWatch", ProcessWatch::define(env));
  exports.Set("identifyProcess", Napi::Function::New(env, identify_process, "identifyProcess"));
}

}  // namespace insitu
