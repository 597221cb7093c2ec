#include "broker/peer_cred.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "broker/turn_away.h"
#include "common/unique_fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace insitu {
namespace {

constexpr size_t kMaxProcBytes = 4'096;
constexpr size_t kMaxGroups = 65'536;  // NGROUPS_MAX

[[noreturn]] void throw_errno(Napi::Env env, const char* what, int error) {
  auto exception = Napi::Error::New(env, std::string(what) + ": " + strerror(error));
  exception.Set("errno", Napi::Number::New(env, error));
  throw exception;
}

ucred peer_of(Napi::Env env, int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    throw_errno(env, "SO_PEERCRED", errno);
  return peer;
}

std::vector<gid_t> peer_groups(Napi::Env env, int socket) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      return groups;
    }
    const size_t needed = size / sizeof(gid_t);
    if (errno != ERANGE || needed <= groups.size() || needed > kMaxGroups)
      throw_errno(env, "SO_PEERGROUPS", errno);
    groups.resize(needed);
  }
}

// Not yet reaped and not yet dead: its pid is still its own.
bool alive(int pidfd) {
  pollfd look{pidfd, POLLIN, 0};
  return poll(&look, 1, 0) == 0;
}

std::string read_proc(pid_t pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(kMaxProcBytes, '\0');
  size_t filled = 0;
  while (fd && filled < text.size()) {
    const ssize_t size = read(fd.get(), text.data() + filled, text.size() - filled);
    if (size <= 0) break;
    filled += static_cast<size_t>(size);
  }
  text.resize(filled);
  return text;
}

}  // namespace

Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const int socket = info[0].As<Napi::Number>().Int32Value();
  const ucred peer = peer_of(env, socket);
  const auto groups = peer_groups(env, socket);

  auto list = Napi::Array::New(env, groups.size());
  for (uint32_t i = 0; i < groups.size(); ++i) list.Set(i, Napi::Number::New(env, groups[i]));
  auto out = Napi::Object::New(env);
  out.Set("uid", peer.uid);
  out.Set("gid", peer.gid);
  out.Set("pid", peer.pid);
  out.Set("groups", list);

  // What /proc says of a number is about this process only if it lived when the look was over.
  int raw = -1;
  socklen_t size = sizeof raw;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &raw, &size) != 0) raw = -1;
  const UniqueFd pidfd(raw);
  if (pidfd && peer.pid > 0) {
    const std::string cgroup = read_proc(peer.pid, "cgroup");
    const std::string command = read_proc(peer.pid, "comm");
    if (alive(pidfd.get())) {
      out.Set("cgroup", cgroup);
      out.Set("command", command.substr(0, command.find('\n')));
    }
  }
  return out;
}

Napi::Value peer_uid(const Napi::CallbackInfo& info) {
  const ucred peer = peer_of(info.Env(), info[0].As<Napi::Number>().Int32Value());
  return Napi::Number::New(info.Env(), peer.uid);
}

void register_broker(Napi::Env env, Napi::Object exports) {
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials, "peerCredentials"));
  exports.Set("peerUid", Napi::Function::New(env, peer_uid, "peerUid"));
  exports.Set("turnAway", Napi::Function::New(env, turn_away, "turnAway"));
}

}  // namespace insitu
