#include "sandbox/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmath>
#include <string>
#include <string_view>
#include <thread>

namespace insitu {
namespace {

[[noreturn]] void throw_errno(Napi::Env env, const std::string& what, int error = errno) {
  auto exception = Napi::Error::New(env, what + ": " + strerror(error));
  exception.Set("errno", Napi::Number::New(env, error));
  throw exception;
}

// The process's CPU clock as the kernel numbers it (clock_getcpuclockid, without its errno detour).
clockid_t cpu_clock(pid_t pid) { return static_cast<clockid_t>((~pid) << 3 | 2); }

// "VmData:     1234 kB" in /proc/PID/status, in bytes; 0 when it is not there. A key comes with the
// newline before it: the first line is the name that the process gave itself, which may look like any
// other, but holds no newline.
double kilobytes(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return 0;
  return strtod(status.data() + at + key.size(), nullptr) * 1024;
}

// Sets the soft limit, as far as the hard one lets it.
int set_soft_limit(pid_t pid, __rlimit_resource resource, rlim_t soft) {
  rlimit value{};
  if (prlimit(pid, resource, nullptr, &value) != 0) return errno;
  value.rlim_cur = soft < value.rlim_max ? soft : value.rlim_max;
  return prlimit(pid, resource, &value, nullptr) == 0 ? 0 : errno;
}

// prlimit(2) asks for CAP_SYS_RESOURCE or for the target's very ids. A root daemon that lacks the
// capability takes the worker's ids for the moment, in a thread of its own: raw system calls change
// one thread, and the thread ends.
int set_soft_limit_as(uid_t uid, gid_t gid, pid_t pid, __rlimit_resource resource, rlim_t soft) {
  int error = 0;
  std::thread([&] {
    if (syscall(SYS_setresgid, gid, gid, gid) != 0 || syscall(SYS_setresuid, uid, uid, uid) != 0) {
      error = errno;
      return;
    }
    error = set_soft_limit(pid, resource, soft);
  }).join();
  return error;
}

}  // namespace

Napi::Function Process::define(Napi::Env env) {
  return DefineClass(
      env, "Process",
      {InstanceAccessor<&Process::pid>("pid"), InstanceMethod("kill", &Process::kill), InstanceMethod("cpuMs", &Process::cpu_ms),
       InstanceMethod("memory", &Process::memory), InstanceMethod("resetPeak", &Process::reset_peak),
       InstanceMethod("limit", &Process::limit), InstanceMethod("close", &Process::close)});
}

Process::Process(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Process>(info),
      pid_(info[0].As<Napi::Number>().Int32Value()),
      id_(info[1].As<Napi::Number>().Uint32Value()) {
  pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_) throw_errno(info.Env(), "pidfd_open");
  const std::string path = "/proc/" + std::to_string(pid_) + "/status";
  status_.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!status_) throw_errno(info.Env(), path);
}

bool Process::alive() const {
  return pidfd_ && syscall(SYS_pidfd_send_signal, pidfd_.get(), 0, nullptr, 0) == 0;
}

Napi::Value Process::pid(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), pid_);
}

Napi::Value Process::kill(const Napi::CallbackInfo& info) {
  if (pidfd_) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  return info.Env().Undefined();
}

Napi::Value Process::cpu_ms(const Napi::CallbackInfo& info) {
  timespec time{};
  if (!alive() || clock_gettime(cpu_clock(pid_), &time) != 0) time = {};
  return Napi::Number::New(info.Env(), static_cast<double>(time.tv_sec) * 1e3 +
                                           static_cast<double>(time.tv_nsec) / 1e6);
}

Napi::Value Process::memory(const Napi::CallbackInfo& info) {
  char text[4096];
  const ssize_t size = status_ ? pread(status_.get(), text, sizeof(text) - 1, 0) : -1;
  text[size < 0 ? 0 : size] = '\0';
  const std::string_view status(text);
  Napi::Env env = info.Env();
  auto result = Napi::Object::New(env);
  // With the page tables: reading ever more of the zero page takes nothing else.
  const double resident = kilobytes(status, "\nVmRSS:") + kilobytes(status, "\nVmPTE:");
  result.Set("residentBytes", Napi::Number::New(env, resident));
  result.Set("peakBytes", Napi::Number::New(env, kilobytes(status, "\nVmHWM:")));
  result.Set("dataBytes", Napi::Number::New(env, kilobytes(status, "\nVmData:")));
  return result;
}

Napi::Value Process::reset_peak(const Napi::CallbackInfo& info) {
  if (alive()) {
    const std::string path = "/proc/" + std::to_string(pid_) + "/clear_refs";
    UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file) (void)!write(file.get(), "5", 1);
  }
  return info.Env().Undefined();
}

Napi::Value Process::limit(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string name = info[0].As<Napi::String>();
  const __rlimit_resource resource = name == "data" ? RLIMIT_DATA : RLIMIT_FSIZE;
  const double bytes = info[1].As<Napi::Number>().DoubleValue();
  if (!alive()) return Napi::Boolean::New(env, false);
  const rlim_t soft = std::isinf(bytes) ? RLIM_INFINITY : static_cast<rlim_t>(bytes);
  int error = set_soft_limit(pid_, resource, soft);
  if (error == EPERM && geteuid() == 0 && id_ != 0)
    error = set_soft_limit_as(id_, id_, pid_, resource, soft);
  return Napi::Boolean::New(env, error == 0);
}

Napi::Value Process::close(const Napi::CallbackInfo& info) {
  pidfd_.reset();
  status_.reset();
  return info.Env().Undefined();
}

Napi::Value socket_pair(const Napi::CallbackInfo& info) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw_errno(info.Env(), "socketpair");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  auto result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, ends[0]);
  result.Set(1u, ends[1]);
  return result;
}

Napi::Value make_pipe(const Napi::CallbackInfo& info) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw_errno(info.Env(), "pipe");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  auto result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, ends[0]);
  result.Set(1u, ends[1]);
  return result;
}

Napi::Value spool_file(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string directory = info[0].As<Napi::String>();
  std::string path = directory + "/spool-XXXXXX";
  UniqueFd passed(mkostemp(path.data(), O_APPEND | O_CLOEXEC));
  if (!passed) throw_errno(env, "make a spool file in " + directory);
  // A description of its own, made while there is a name: flags and offset are the daemon's alone.
  UniqueFd own(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const int error = errno;
  unlink(path.c_str());
  if (!own) throw_errno(env, "open a spool file", error);
  auto result = Napi::Object::New(env);
  result.Set("own", Napi::Number::New(env, own.release()));
  result.Set("passed", Napi::Number::New(env, passed.release()));
  return result;
}

}  // namespace insitu
