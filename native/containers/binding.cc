#include "containers/binding.h"

#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <uv.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/async_pool.h"
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

struct Ended {
  int status;  // of exit(2); -1: killed, its time was over
  std::string out, err;
};

// What is in the pipe once its writer has ended: less than what a pipe holds.
std::string drain(int pipe) {
  std::string text(4'096, '\0');
  const ssize_t size = ::read(pipe, text.data(), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

// By posix_spawn, which copies nothing of this process, whatever its size. `root` becomes descriptor 3.
Ended run_helper(std::vector<std::string> words, int root) {
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0) throw Failure(errno, "pipe");
  const UniqueFd out_end(out[0]);
  UniqueFd out_start(out[1]);
  if (::pipe2(err, O_CLOEXEC) != 0) throw Failure(errno, "pipe");
  const UniqueFd err_end(err[0]);
  UniqueFd err_start(err[1]);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* none[] = {nullptr};

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out_start.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err_start.get(), 2);
  if (root >= 0) ::posix_spawn_file_actions_adddup2(&actions, root, 3);
  // It ends itself by an alarm, which must reach it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t all, no_signals;
  ::sigfillset(&all);
  ::sigemptyset(&no_signals);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &no_signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), none);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw Failure(error, "run " + words[0]);
  out_start.reset();
  err_start.reset();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw Failure(errno, "wait for " + words[0]);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, drain(out_end.get()),
          drain(err_end.get())};
}

// (lane: number, words: string[], root: number) => Promise<{status, out, err}>. One lane waits for itself.
Napi::Value run_attach(const Napi::CallbackInfo& info) {
  std::vector<std::string> words;
  const auto list = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i)
    words.push_back(list.Get(i).As<Napi::String>().Utf8Value());
  return run_async(
      info.Env(), info[0].As<Napi::Number>().Uint32Value(),
      [words = std::move(words), root = info[2].As<Napi::Number>().Int32Value()] {
        return run_helper(words, root);
      },
      [](Napi::Env env, const Ended& ended) -> Napi::Value {
        auto result = Napi::Object::New(env);
        result.Set("status", ended.status);
        result.Set("out", ended.out);
        result.Set("err", ended.err);
        return result;
      });
}

}  // namespace

void register_containers(Napi::Env env, Napi::Object exports) {
  exports.Set("ProcessWatch", ProcessWatch::define(env));
  exports.Set("runAttach", Napi::Function::New(env, run_attach, "runAttach"));
  exports.Set("identifyProcess", Napi::Function::New(env, identify_process, "identifyProcess"));
}

}  // namespace insitu
