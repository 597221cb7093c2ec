#include "upcalls.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "session.h"
#include "virtual_nodes.h"

namespace insitu {
namespace {

// Each waits for a run or for TypeScript's event loop. More than this, and a new one is refused
// rather than added to a queue that nobody will see the end of.
constexpr size_t kMaxWaiting = 4'096;
// Of one user, who otherwise could keep everybody else from asking.
constexpr size_t kMaxWaitingOfUser = 1'024;

Napi::Object caller_value(Napi::Env env, const Upcall& upcall) {
  auto caller = Napi::Object::New(env);
  caller.Set("uid", upcall.caller.uid);
  caller.Set("gid", upcall.caller.gid);
  caller.Set("pid", upcall.caller.pid);
  auto groups = Napi::Array::New(env, upcall.groups.size());
  for (size_t at = 0; at < upcall.groups.size(); ++at)
    groups.Set(static_cast<uint32_t>(at), upcall.groups[at]);
  caller.Set("groups", groups);
  return caller;
}

Napi::Object node_value(Napi::Env env, const Upcall& upcall) {
  auto node = Napi::Object::New(env);
  node.Set("directory", upcall.key);
  switch (upcall.kind) {
    case VirtualKind::compute:
      node.Set("kind", "compute");
      break;
    case VirtualKind::query:
      node.Set("kind", "query");
      break;
    default:
      node.Set("kind", "control");
      node.Set("name", upcall.name);
  }
  return node;
}

// Shaped as `VirtualRequest` of types.ts.
Napi::Value request_value(Napi::Env env, const Upcall& upcall) {
  using Op = Upcall::Op;
  auto out = Napi::Object::New(env);
  const auto handle = [&] { out.Set("handle", static_cast<double>(upcall.handle.value_or(0))); };
  const auto size = [&] { out.Set("sizeBytes", static_cast<double>(upcall.size)); };
  const auto offset = [&] { out.Set("offset", static_cast<double>(upcall.offset)); };
  const auto node = [&] { out.Set("node", node_value(env, upcall)); };
  const auto directory = [&] { out.Set("directory", upcall.key); };
  const auto caller = [&] { out.Set("caller", caller_value(env, upcall)); };
  switch (upcall.op) {
    case Op::open:
      out.Set("op", "open");
      out.Set("flags", upcall.flags);
      out.Set("created", upcall.created);
      node(), caller();
      break;
    case Op::read:
      out.Set("op", "read");
      out.Set("nonBlocking", upcall.flag);
      handle(), offset(), size();
      break;
    case Op::write:
      out.Set("op", "write");
      out.Set("append", upcall.flag);
      out.Set("data", Napi::Buffer<uint8_t>::Copy(
                          env, reinterpret_cast<const uint8_t*>(upcall.data.data()),
                          upcall.data.size()));
      handle(), offset();
      break;
    case Op::flush:
      out.Set("op", "flush");
      handle();
      break;
    case Op::release:
      out.Set("op", "release");
      handle();
      break;
    case Op::getattr:
      out.Set("op", "getattr");
      node();
      break;
    case Op::truncate:
      out.Set("op", "truncate");
      if (upcall.handle)
        handle();
      else
        out.Set("handle", env.Undefined());
      node(), size(), caller();
      break;
    case Op::unlink:
      out.Set("op", "unlink");
      directory(), caller();
      break;
    case Op::rename_onto:
      out.Set("op", "rename-onto");
      out.Set("fd", upcall.fd.get());
      directory(), size(), caller();
      break;
    case Op::resolve:
      out.Set("op", "resolve");
      directory(), caller();
      break;
    case Op::poll:
      out.Set("op", "poll");
      out.Set("forReading", upcall.flag);
      handle();
      break;
    case Op::forget_directory:
      out.Set("op", "forget-directory");
      directory();
      break;
    case Op::reserved_name_taken:
    case Op::compute_not_granted:
      out.Set("op", upcall.op == Op::reserved_name_taken ? "reserved-name-taken"
                                                         : "compute-not-granted");
      out.Set("path", upcall.key);
      break;
  }
  return out;
}

}  // namespace

Upcalls::Upcalls(Napi::Env env, const Napi::Function& dispatch)
    : dispatch_(Napi::ThreadSafeFunction::New(
          env, dispatch, "insitu-virtual-files", 0, 1,
          [](Napi::Env, std::shared_ptr<std::atomic<bool>>* gone) {
            **gone = true;
            delete gone;
          },
          new std::shared_ptr<std::atomic<bool>>(gone_))) {
  // The mount keeps the process alive, not what is asked of it.
  dispatch_.Unref(env);
}

Upcalls::~Upcalls() { finish(); }

void Upcalls::finish() {
  if (!gone_->exchange(true)) dispatch_.Release();
}

void Upcalls::forward(Request& request, std::unique_ptr<Upcall> upcall, OnReply on_reply) {
  if (closed_) return void(request.reply_error(ENOTCONN));
  const uint64_t id = next_++;
  const uint64_t unique = request.unique();
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    const uint32_t uid = request.caller().uid;
    const auto of_user = waiting_of_.find(uid);
    full = waiting_.size() >= kMaxWaiting ||
           (of_user != waiting_of_.end() && of_user->second >= kMaxWaitingOfUser);
    if (!full) {
      waiting_.emplace(id, Waiting{std::move(request).park(), std::move(on_reply)});
      ++waiting_of_[uid];
    }
  }
  if (full) return void(request.reply_error(EAGAIN));
  // A request that asks a second time may have been interrupted in between.
  const bool waits = session_->waiting().on_interrupt(unique, [this, id] { interrupt(id); });
  if (!waits || !post(id, std::move(upcall)) || closed_) interrupt(id);
}

void Upcalls::tell(std::unique_ptr<Upcall> upcall) { post(next_++, std::move(upcall)); }

bool Upcalls::reply(uint64_t id, const UpcallReply& reply) {
  Waiting waiting;
  UniqueFd lent;
  {
    const std::lock_guard lock(mutex_);
    if (auto fd = lent_.extract(id)) lent = std::move(fd.mapped());
    if (!take(id, waiting)) return false;
  }
  if (reply.error != 0) return waiting.request->reply_error(reply.error) == 0;
  return waiting.on_reply(*waiting.request, reply);
}

bool Upcalls::take(uint64_t id, Waiting& out) {
  auto found = waiting_.extract(id);
  if (found.empty()) return false;
  out = std::move(found.mapped());
  const auto of_user = waiting_of_.find(out.request->caller().uid);
  if (of_user != waiting_of_.end() && --of_user->second == 0) waiting_of_.erase(of_user);
  return true;
}

void Upcalls::interrupt(uint64_t id) {
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    if (!take(id, waiting)) return;
  }
  waiting.request->reply_error(closed_ ? ENOTCONN : EINTR);
  post(id, nullptr);
}

void Upcalls::close() { closed_ = true; }

void Upcalls::lend(uint64_t id, UniqueFd fd) {
  if (!fd) return;
  const std::lock_guard lock(mutex_);
  lent_.emplace(id, std::move(fd));
}

size_t Upcalls::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

bool Upcalls::post(uint64_t id, std::unique_ptr<Upcall> upcall) {
  if (*gone_) return false;
  if (upcall) ++total_;
  auto* message = new Message{this, id, std::move(upcall)};
  const napi_status status = dispatch_.NonBlockingCall(
      message, [](Napi::Env env, Napi::Function dispatch, Message* raw) {
        const std::unique_ptr<Message> owned(raw);
        if (env == nullptr || dispatch == nullptr) return;
        const auto number = Napi::Number::New(env, static_cast<double>(owned->id));
        if (!owned->upcall) {
          dispatch.Call({number, env.Undefined()});
          return;
        }
        const Napi::Value request = request_value(env, *owned->upcall);
        owned->self->lend(owned->id, std::move(owned->upcall->fd));
        dispatch.Call({number, request});
      });
  if (status == napi_ok) return true;
  delete message;
  return false;
}

}  // namespace insitu
