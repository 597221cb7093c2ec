#include "sandbox/worker_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "sandbox/seccomp.h"

namespace insitu {
namespace {

constexpr size_t kMaxFrameBytes = 64 * 1024;

[[noreturn]] void throw_errno(Napi::Env env, const char* what, int error) {
  throw Napi::Error::New(env, std::string(what) + ": " + strerror(error));
}

iovec bytes_of(const Napi::Value& value) {
  if (!value.IsTypedArray()) return {nullptr, 0};
  auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

void send(const Napi::CallbackInfo& info) {
  iovec parts[] = {bytes_of(info[1]), bytes_of(info[2])};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = parts[1].iov_len > 0 ? 2 : 1;
  ssize_t sent;
  do {
    sent = sendmsg(info[0].As<Napi::Number>().Int32Value(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) throw_errno(info.Env(), "send to the daemon", errno);
}

Napi::Value receive(const Napi::CallbackInfo& info) {
  static std::array<char, kMaxFrameBytes> buffer;
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  do {
    size = recvmsg(info[0].As<Napi::Number>().Int32Value(), &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) throw_errno(info.Env(), "receive from the daemon", errno);
  if (size == 0) throw_errno(info.Env(), "receive from the daemon", EPIPE);
  int fd = -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  auto result = Napi::Object::New(info.Env());
  result.Set("frame", Napi::Buffer<char>::Copy(info.Env(), buffer.data(), size));
  result.Set("fd", fd);
  return result;
}

void lock(const Napi::CallbackInfo& info) {
  if (const int error = install_filter(worker_filter())) throw_errno(info.Env(), "seccomp", error);
}

void limit_threads(const Napi::CallbackInfo& info) {
  const auto count = static_cast<rlim_t>(info[0].As<Napi::Number>().Uint32Value());
  const rlimit value{count, count};
  if (setrlimit(RLIMIT_NPROC, &value) != 0) throw_errno(info.Env(), "setrlimit", errno);
}

}  // namespace

void register_worker_socket(Napi::Env env, Napi::Object exports) {
  auto channel = Napi::Object::New(env);
  channel.Set("send", Napi::Function::New(env, send, "send"));
  channel.Set("receive", Napi::Function::New(env, receive, "receive"));
  channel.Set("lock", Napi::Function::New(env, lock, "lock"));
  channel.Set("limitThreads", Napi::Function::New(env, limit_threads, "limitThreads"));
  exports.Set("channel", channel);
}

}  // namespace insitu
