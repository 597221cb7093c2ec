// Processes by number and by when they began, which no other ever has with it.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/unique_fd.h"

namespace insitu {

// `pidfd`: not yet reaped and not yet dead, so that its number is still its own.
inline bool is_alive(int pidfd) {
  pollfd look{pidfd, POLLIN, 0};
  return ::poll(&look, 1, 0) == 0;
}

// At most a page.
inline std::string read_proc(pid_t pid, const char* name) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(4'096, '\0');
  size_t filled = 0;
  while (fd && filled < text.size()) {
    const ssize_t size = ::read(fd.get(), text.data() + filled, text.size() - filled);
    if (size <= 0) break;
    filled += static_cast<size_t>(size);
  }
  text.resize(filled);
  return text;
}

// A number of proc_pid_stat(5), where the second field, a name in parentheses, may hold anything; 0 when the
// process is not there.
inline uint64_t stat_field(pid_t pid, int wanted) {
  const std::string stat = read_proc(pid, "stat");
  size_t at = stat.rfind(')');
  for (int field = 2; field < wanted && at != std::string::npos; ++field)
    at = stat.find(' ', at + 1);
  return at == std::string::npos ? 0 : ::strtoull(stat.c_str() + at, nullptr, 10);
}

// Of a mount namespace by its descriptor: never given to another (Linux 6.11); 0 when it cannot be told.
inline uint64_t namespace_id(int mounts) {
  constexpr unsigned long kGetMountNamespaceId = _IOR(0xb7, 0x5, uint64_t);
  uint64_t id = 0;
  return ::ioctl(mounts, kGetMountNamespaceId, &id) == 0 ? id : 0;
}

inline UniqueFd open_mount_namespace(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/mnt";
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// In clock ticks since the boot.
inline uint64_t start_of(pid_t pid) { return stat_field(pid, 22); }
inline pid_t parent_of(pid_t pid) { return static_cast<pid_t>(stat_field(pid, 4)); }

inline UniqueFd open_pidfd(pid_t pid) {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// Its pidfd, if the process with that number is the one that began then, and lives.
inline UniqueFd open_process(pid_t pid, uint64_t start) {
  UniqueFd pidfd = open_pidfd(pid);
  if (pidfd && (start_of(pid) != start || !is_alive(pidfd.get()))) pidfd.reset();
  return pidfd;
}

}  // namespace insitu
