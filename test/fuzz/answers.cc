#include "answers.h"

#include <atomic>
#include <cerrno>

#include "file-server/session.h"
#include "file-server/upcalls.h"

namespace {
std::atomic<uint64_t> held = 0;
std::atomic<uint8_t> chosen = 0;
}  // namespace

void answers_begin(uint8_t seed) { chosen = seed; }
uint64_t answers_held() { return held; }

namespace insitu {

Upcalls::Upcalls(Napi::Env, const Napi::Function&) {}
Upcalls::~Upcalls() { close(); }

void Upcalls::forward(Request& request, std::unique_ptr<Upcall> upcall, OnReply on_reply) {
  if (closed_) return void(request.reply_error(ENOTCONN));
  const uint64_t id = next_++;
  const uint64_t unique = request.unique();
  const uint64_t choice = (id * 7 + chosen) % 8;
  {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(id, Waiting{std::move(request).park(), std::move(on_reply)});
  }
  session_->waiting().on_interrupt(unique, [this, id] { interrupt(id); });
  if (choice == 7) return void(++held);
  UpcallReply reply;
  if (choice == 6) reply.error = EACCES;
  static const std::byte text[64]{};
  reply.handle = id;
  reply.stream = choice == 1;
  reply.data = std::span(text).first(choice * 8);
  reply.written = upcall->data.size();
  reply.size = choice;
  reply.readable = reply.writable = choice & 1;
  this->reply(id, reply);
}

void Upcalls::tell(std::unique_ptr<Upcall>) {}

bool Upcalls::reply(uint64_t id, const UpcallReply& reply) {
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    if (!take(id, waiting)) return false;
  }
  if (reply.error != 0) return waiting.request->reply_error(reply.error) == 0;
  return waiting.on_reply(*waiting.request, reply);
}

bool Upcalls::take(uint64_t id, Waiting& out) {
  auto found = waiting_.extract(id);
  if (found.empty()) return false;
  out = std::move(found.mapped());
  return true;
}

void Upcalls::interrupt(uint64_t id) {
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    if (!take(id, waiting)) return;
  }
  waiting.request->reply_error(EINTR);
}

void Upcalls::close() { closed_ = true; }
void Upcalls::finish() {}
size_t Upcalls::waiting() const { return 0; }

}  // namespace insitu
