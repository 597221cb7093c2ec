// Walking and mounting by descriptors.
#pragma once

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "common/unique_fd.h"
#include "containers/refusal.h"

namespace insitu {

constexpr uint64_t kWalk = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr unsigned kMoveMountBeneath = 0x200;  // Linux 6.5

inline UniqueFd walk(int from, const char* path, uint64_t flags, uint64_t resolve = kWalk) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, from, path, &how, sizeof how)));
}

// A FUSE mount whose server is gone.
inline bool is_dead(int fd) {
  struct statx out{};
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_MODE, &out) != 0 &&
         errno == ENOTCONN;
}

inline void move_in(const UniqueFd& tree, const UniqueFd& point, unsigned flags) {
  if (::syscall(SYS_move_mount, tree.get(), "", point.get(), "",
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | flags) != 0)
    fail("move the mount in");
}

}  // namespace insitu
