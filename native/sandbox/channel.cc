#include "sandbox/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <array>

namespace insitu {
namespace {

constexpr size_t kMaxFrameBytes = 64 * 1024;
// A program with its library, twice over. Everything else is an answer to one question at a time.
constexpr size_t kMaxQueuedBytes = 64 * 1024 * 1024;
// A worker that floods gets no more than this of a turn of the event loop.
constexpr int kFramesPerTurn = 32;

}  // namespace

Napi::Function Channel::define(Napi::Env env) {
  return DefineClass(env, "Channel",
                     {InstanceMethod("send", &Channel::send), InstanceMethod("close", &Channel::close),
                      InstanceMethod("pause", &Channel::pause),
                      InstanceMethod("resume", &Channel::resume)});
}

Channel::Channel(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Channel>(info) {
  Napi::Env env = info.Env();
  socket_.reset(info[0].As<Napi::Number>().Int32Value());
  on_frame_ = Napi::Persistent(info[1].As<Napi::Function>());
  on_end_ = Napi::Persistent(info[2].As<Napi::Function>());
  context_ = std::make_unique<Napi::AsyncContext>(env, "insitu:sandbox");
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto poll = std::make_unique<uv_poll_t>();
  if (const int error = uv_poll_init(loop, poll.get(), socket_.get()); error != 0)
    throw Napi::Error::New(env, std::string("watch a worker's socket: ") + uv_strerror(error));
  poll_ = poll.release();
  poll_->data = this;
  Ref();  // lives until it has ended, whether or not JavaScript still holds it
  watch();
}

Channel::~Channel() { stop(); }

void Channel::watch() {
  if (poll_ == nullptr) return;
  const int events = (paused_ ? 0 : UV_READABLE) | (queue_.empty() ? 0 : UV_WRITABLE);
  if (events == 0) {
    uv_poll_stop(poll_);
    return;
  }
  uv_poll_start(poll_, events, [](uv_poll_t* poll, int status, int ready) {
    if (poll->data != nullptr) static_cast<Channel*>(poll->data)->on_ready(status, ready);
  });
}

void Channel::on_ready(int status, int events) {
  Napi::HandleScope scope(Env());
  [[maybe_unused]] Napi::Value self = Value();  // a callback may close and so drop the channel
  if (status < 0) return end("the socket failed");
  if ((events & UV_WRITABLE) != 0) flush();
  if ((events & UV_READABLE) != 0) receive();
}

void Channel::receive() {
  alignas(8) thread_local std::array<std::byte, kMaxFrameBytes> buffer;
  for (int i = 0; i < kFramesPerTurn && poll_ != nullptr && !paused_; ++i) {
    iovec part{buffer.data(), buffer.size()};
    // No control buffer: the kernel drops what descriptors come along, and says so.
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t size = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return end("the socket failed");
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) return end("the worker sent a descriptor");
    if ((message.msg_flags & MSG_TRUNC) != 0) return end("the worker sent a frame that is too long");
    // An empty packet looks the same as the end, and is no frame either.
    if (size == 0) return end("the worker closed its socket");
    Napi::HandleScope scope(Env());
    auto frame = Napi::Buffer<std::byte>::Copy(Env(), buffer.data(), static_cast<size_t>(size));
    call(on_frame_, frame);
  }
}

bool Channel::try_send(const Outgoing& outgoing, int& error) {
  iovec part{const_cast<std::byte*>(outgoing.frame.data()), outgoing.frame.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (outgoing.passed) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = outgoing.passed.get();
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EAGAIN) return false;
  error = sent < 0 ? errno : 0;
  return true;
}

Napi::Value Channel::send(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Outgoing outgoing;
  if (info.Length() > 1 && info[1].IsNumber())
    outgoing.passed.reset(info[1].As<Napi::Number>().Int32Value());
  if (poll_ == nullptr) return Napi::Boolean::New(env, false);
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto* data = reinterpret_cast<const std::byte*>(bytes.Data());
  if (bytes.ByteLength() == 0 || bytes.ByteLength() > kMaxFrameBytes)
    throw Napi::RangeError::New(env, "a frame is 1 to 65536 bytes long");
  if (queued_bytes_ + bytes.ByteLength() > kMaxQueuedBytes)
    throw Napi::RangeError::New(env, "the worker does not read what it is sent");
  outgoing.frame.assign(data, data + bytes.ByteLength());
  int error = 0;
  if (queue_.empty() && try_send(outgoing, error)) {
    // The peer is gone: its end is told when the socket is next read, never from within send().
    return Napi::Boolean::New(env, error == 0);
  }
  queued_bytes_ += outgoing.frame.size();
  queue_.push_back(std::move(outgoing));
  watch();
  return Napi::Boolean::New(env, true);
}

void Channel::flush() {
  while (!queue_.empty()) {
    int error = 0;
    if (!try_send(queue_.front(), error)) return;
    if (error != 0) return end("the worker is gone");
    queued_bytes_ -= queue_.front().frame.size();
    queue_.pop_front();
  }
  watch();
}

Napi::Value Channel::pause(const Napi::CallbackInfo& info) {
  paused_ = true;
  watch();
  return info.Env().Undefined();
}

Napi::Value Channel::resume(const Napi::CallbackInfo& info) {
  paused_ = false;
  watch();
  return info.Env().Undefined();
}

Napi::Value Channel::close(const Napi::CallbackInfo& info) {
  if (poll_ != nullptr) {
    stop();
    Unref();
  }
  return info.Env().Undefined();
}

void Channel::end(const char* why) {
  if (poll_ == nullptr) return;
  Napi::Env env = Env();
  Napi::HandleScope scope(env);
  stop();
  [[maybe_unused]] Napi::Value self = Value();  // keeps it alive to the end of this scope
  Unref();
  call(on_end_, Napi::String::New(env, why));
}

// An exception out of a callback becomes the process's uncaughtException: it must not unwind libuv.
void Channel::call(const Napi::FunctionReference& callback, napi_value argument) {
  napi_value result = nullptr;
  if (napi_make_callback(Env(), *context_, Value(), callback.Value(), 1, &argument, &result) !=
      napi_pending_exception)
    return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(Env(), &exception) == napi_ok)
    napi_fatal_exception(Env(), exception);
}

void Channel::stop() {
  if (poll_ == nullptr) return;
  poll_->data = nullptr;
  uv_poll_stop(poll_);
  uv_close(reinterpret_cast<uv_handle_t*>(poll_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  poll_ = nullptr;
  queue_.clear();
  queued_bytes_ = 0;
  // After uv_poll_stop the loop no longer watches the number.
  socket_.reset();
}

}  // namespace insitu
