#include "broker/turn_away.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "common/unique_fd.h"

namespace insitu {

Napi::Value turn_away(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const int listening = info[0].As<Napi::Number>().Int32Value();
  const auto given = info[1].As<Napi::Uint32Array>();
  const std::vector<uint32_t> unwelcome(given.Data(), given.Data() + given.ElementLength());
  const uint32_t most = info[2].As<Napi::Number>().Uint32Value();
  uint32_t closed = 0;
  UniqueFd next;
  while (closed < most) {
    next.reset(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!next) break;  // nobody waits; what else is wrong, the event loop meets too
    ucred peer{};
    socklen_t size = sizeof peer;
    const bool known = ::getsockopt(next.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    if (known && std::ranges::find(unwelcome, peer.uid) == unwelcome.end()) break;
    next.reset();
    ++closed;
  }
  auto out = Napi::Object::New(env);
  out.Set("closed", closed);
  out.Set("next", next.release());
  return out;
}

}  // namespace insitu
