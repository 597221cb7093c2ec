#include "service/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "common/unique_fd.h"

namespace insitu {

namespace {

// (socket: string, message: string) => errno, 0 when it was taken. An address that begins with "@" is
// abstract, as in NOTIFY_SOCKET. Never waits.
Napi::Value send_datagram(const Napi::CallbackInfo& info) {
  const std::string place = info[0].As<Napi::String>().Utf8Value();
  const std::string message = info[1].As<Napi::String>().Utf8Value();
  const auto answer = [&](int error) { return Napi::Number::New(info.Env(), error); };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (place.empty() || place.size() >= sizeof address.sun_path) return answer(EINVAL);
  std::memcpy(address.sun_path, place.data(), place.size());
  if (place[0] == '@') address.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + place.size() + (place[0] != '@'));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return answer(errno);
  const ssize_t sent =
      ::sendto(socket.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size);
  return answer(sent < 0 ? errno : 0);
}

}  // namespace

void register_service(Napi::Env env, Napi::Object exports) {
  exports.Set("sendDatagram", Napi::Function::New(env, send_datagram, "sendDatagram"));
}

}  // namespace insitu
