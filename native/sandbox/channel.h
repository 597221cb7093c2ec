#pragma once

#include <napi.h>
#include <uv.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "common/unique_fd.h"

namespace insitu {

// The daemon's end of a worker's socket (SOCK_SEQPACKET, one packet a frame). The peer is hostile:
// nothing here blocks, waits for it, or keeps more for it than a bound, and no descriptor that it
// sends is ever installed. Lives on the event loop's thread.
//
//   new Channel(fd, onFrame: (frame: Buffer) => void, onEnd: (why: string) => void)
//
// `onEnd` comes once, unless close() came first; the socket is closed by then.
class Channel : public Napi::ObjectWrap<Channel> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Channel(const Napi::CallbackInfo& info);
  ~Channel() override;

 private:
  struct Outgoing {
    std::vector<std::byte> frame;
    UniqueFd passed;
  };

  // send(frame: Uint8Array, fd = -1): takes the descriptor over in any case. False once it has ended.
  Napi::Value send(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  // pause(): frames stay in the socket, and so the peer blocks, until resume().
  Napi::Value pause(const Napi::CallbackInfo& info);
  Napi::Value resume(const Napi::CallbackInfo& info);

  void on_ready(int status, int events);
  void receive();
  void flush();
  void watch();
  void end(const char* why);
  void stop();
  void call(const Napi::FunctionReference& callback, napi_value argument);
  // True when sent or failed for good (`error`), false when the socket is full.
  bool try_send(const Outgoing& outgoing, int& error);

  UniqueFd socket_;
  // Outlives this object until libuv has closed it.
  uv_poll_t* poll_ = nullptr;
  Napi::FunctionReference on_frame_;
  Napi::FunctionReference on_end_;
  std::unique_ptr<Napi::AsyncContext> context_;
  std::deque<Outgoing> queue_;
  size_t queued_bytes_ = 0;
  bool paused_ = false;
};

}  // namespace insitu
