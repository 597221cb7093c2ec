#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "../common/unique_fd.h"
#include "request.h"

namespace insitu {

class Session;
enum class VirtualKind : uint8_t;

// A request to TypeScript, `VirtualRequest` of types.ts; fields that an operation does not have are
// left alone.
struct Upcall {
  enum class Op : uint8_t {
    open, read, write, flush, release, getattr, truncate, unlink, rename_onto, resolve, poll,
    forget_directory, reserved_name_taken, compute_not_granted,
  };
  Op op;
  std::string key;         // the directory; reserved_name_taken, compute_not_granted: a path
  VirtualKind kind{};      // of the node, where there is one
  std::string name;        // of a control node
  uint32_t flags = 0;      // open
  bool created = false;    // open
  bool flag = false;       // read: nonBlocking, write: append, poll: forReading
  std::optional<uint64_t> handle;
  uint64_t offset = 0;
  uint64_t size = 0;
  std::vector<std::byte> data;
  UniqueFd fd;             // rename_onto: lent for the time of the request
  CallerIds caller{};
  std::vector<uint32_t> groups;
};

// `VirtualReply` of types.ts.
struct UpcallReply {
  int error = 0;
  uint64_t handle = 0;
  bool stream = false;
  std::span<const std::byte> data;
  uint64_t written = 0;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  bool readable = false;
  bool writable = false;
};

// The way to TypeScript and back. A request waits parked until its reply, or until its caller is
// interrupted; then TypeScript is told to give up, and its reply no longer counts.
class Upcalls {
 public:
  // Answers the request. False: the kernel did not take the answer (the caller went away), and
  // TypeScript must undo what it began.
  using OnReply = std::function<bool(Request&, const UpcallReply&)>;

  // `dispatch(id, request)` in JavaScript; `dispatch(id, undefined)` aborts that request.
  Upcalls(Napi::Env env, const Napi::Function& dispatch);
  ~Upcalls();

  void attach(Session& session) { session_ = &session; }
  // Takes the request over; EAGAIN when too many wait already.
  void forward(Request& request, std::unique_ptr<Upcall> upcall, OnReply on_reply);
  // Nobody waits for an answer.
  void tell(std::unique_ptr<Upcall> upcall);
  // On the event loop. False when nobody waits for it any more.
  bool reply(uint64_t id, const UpcallReply& reply);
  // From now on who waits gets ENOTCONN instead of EINTR.
  void close();
  // Nothing more is said; what was said still arrives. The session has stopped.
  void finish();
  size_t waiting() const;
  uint64_t total() const { return total_; }

 private:
  struct Waiting {
    std::unique_ptr<Request> request;
    OnReply on_reply;
  };
  struct Message {
    Upcalls* self;
    uint64_t id;
    std::unique_ptr<Upcall> upcall;  // empty: abort
  };
  // With mutex_ held.
  bool take(uint64_t id, Waiting& out);
  void interrupt(uint64_t id);
  void lend(uint64_t id, UniqueFd fd);
  bool post(uint64_t id, std::unique_ptr<Upcall> upcall);

  Session* session_ = nullptr;
  // Set once `dispatch_` is released, or the environment has taken it away, which it does before it
  // finalizes us.
  std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
  Napi::ThreadSafeFunction dispatch_;
  std::atomic<bool> closed_ = false;
  std::atomic<uint64_t> next_ = 1;
  std::atomic<uint64_t> total_ = 0;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, Waiting> waiting_;
  std::unordered_map<uint32_t, size_t> waiting_of_;  // by uid, those that have any
  // Until TypeScript is done with the request, also when its caller is long gone.
  std::unordered_map<uint64_t, UniqueFd> lent_;
};

}  // namespace insitu
