#include "file-server/identity.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

namespace insitu {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// Twice the longest timer tick: kernels without fine-grained times stamp with the last tick.
constexpr int64_t kTickNs = 20'000'000;

int64_t to_ns(const statx_timestamp& time) { return time.tv_sec * kSecondNs + time.tv_nsec; }

bool kernel_has_fine_times() {
  static const bool answer = [] {
    utsname name{};
    int major = 0, minor = 0;
    if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
    return major > 6 || (major == 6 && minor >= 13);
  }();
  return answer;
}

}  // namespace

int read_attributes(int directory, const char* path, int flags, Attributes& out) {
  struct statx st;
  if (statx(directory, path, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, &st) != 0)
    return errno;
  out.dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  out.ino = st.stx_ino;
  out.birth_ns = (st.stx_mask & STATX_BTIME) != 0 ? to_ns(st.stx_btime) : 0;
  out.size = st.stx_size;
  out.mtime_ns = to_ns(st.stx_mtime);
  out.ctime_ns = to_ns(st.stx_ctime);
  out.mode = st.stx_mode;
  out.uid = st.stx_uid;
  out.gid = st.stx_gid;
  out.nlink = st.stx_nlink;
  return 0;
}

bool has_acl(int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

Identity make_identity(std::string path, InputKind kind, const Attributes& attributes) {
  Identity identity;
  identity.path = std::move(path);
  identity.kind = kind;
  identity.dev = attributes.dev;
  identity.ino = attributes.ino;
  identity.birth_ns = attributes.birth_ns;
  identity.size = attributes.size;
  identity.mtime_ns = attributes.mtime_ns;
  identity.ctime_ns = attributes.ctime_ns;
  return identity;
}

bool same_inode(const Identity& identity, const Attributes& now) {
  return identity.dev == now.dev && identity.ino == now.ino && identity.birth_ns == now.birth_ns;
}

bool same_state(const Identity& identity, const Attributes& now) {
  return same_inode(identity, now) && identity.size == now.size &&
         identity.mtime_ns == now.mtime_ns && identity.ctime_ns == now.ctime_ns;
}

int64_t time_granularity_ns(int fd) {
  struct statfs st{};
  if (fstatfs(fd, &st) != 0) return 2 * kSecondNs;
  constexpr long kXfs = 0x58465342;
  switch (static_cast<long>(st.f_type)) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case kXfs:
      return kernel_has_fine_times() ? 0 : kTickNs;
    case MSDOS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case NFS_SUPER_MAGIC:
      return 2 * kSecondNs;
    default:
      return kTickNs;
  }
}

int64_t wall_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

}  // namespace insitu
