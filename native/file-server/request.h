#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace insitu {

class Session;

struct CallerIds {
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;  // a thread id; 0 when the caller is in a pid namespace that we cannot see
};

// One request from the kernel. It is answered exactly once: a handler that returns without a reply
// gets EIO sent by the destructor. Replies go out on the device descriptor that it was read from.
class Request {
 public:
  // `frame` holds at least a whole fuse_in_header whose lengths fit the frame.
  Request(Session& session, int device, std::span<const std::byte> frame);
  Request(Request&&) noexcept;
  ~Request();

  Session& session() const;
  uint32_t opcode() const;
  uint64_t unique() const;
  uint64_t node() const;
  // As ids of the volume, also on an idmapped mount, where the kernel tells them of what creates and the others
  // are read from /proc: the thread waits meanwhile. An id that stands for none of the volume is nobody's.
  CallerIds caller() const;
  // The supplementary groups of the caller, from /proc; none of a thread that we cannot see.
  std::vector<uint32_t> caller_groups() const;
  // Of the host, and not only of a container whose ids are mapped.
  bool by_root() const;
  // What follows fuse_in_header, without extensions; never longer than the frame said.
  std::span<const std::byte> body() const;
  // The one supplementary group of the caller that is the parent directory's (a creating
  // operation).
  std::optional<uint32_t> supplementary_group() const;

  // The body's head as T, nullptr when the body is too short. T is a wire structure.
  template <class T>
  const T* arg() const {
    return body().size() < sizeof(T) ? nullptr : reinterpret_cast<const T*>(body().data());
  }
  // NUL-terminated string at `offset` of the body; empty when there is none.
  std::string_view name(size_t offset) const;

  // Each returns 0, or the errno of the device's write (ENOENT: the kernel no longer waits, and
  // what the reply would have handed over was not taken).
  int reply_error(int error);  // positive errno; 0 is an empty success
  int reply(std::span<const std::byte> first, std::span<const std::byte> second = {});
  template <class T>
  int reply_with(const T& value) {
    return reply(std::as_bytes(std::span{&value, 1}));
  }
  // FORGET and its like get no reply.
  void no_reply();
  // Also of a request that was taken out of its thread.
  bool replied() const;
  // What it was answered with; 0 also before, and once it was taken out.
  int error() const;

  // Takes the request out of its thread: copies the body to the heap, so that the reply may come
  // later and from any thread. Its INTERRUPTs are from now on told to `on_interrupt` of the
  // session's waiting table (see interrupts.h).
  std::unique_ptr<Request> park() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace insitu
