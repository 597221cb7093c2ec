#include "file-server/identity.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "file-server/file_stat.h"

namespace insitu {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// Twice the longest timer tick: kernels without fine-grained times stamp with the last tick.
constexpr int64_t kTickNs = 20'000'000;

int64_t to_ns(const timespec& time) { return time.tv_sec * kSecondNs + time.tv_nsec; }

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
  FileStat found;
  if (const int error = stat_at(directory, path, flags, found)) return error;
  out.dev = found.st_dev;
  out.ino = found.st_ino;
  out.birth_ns = found.birth_ns;
  out.size = static_cast<uint64_t>(found.st_size);
  out.mtime_ns = to_ns(found.st_mtim);
  out.ctime_ns = to_ns(found.st_ctim);
  out.mode = found.st_mode;
  out.uid = found.st_uid;
  out.gid = found.st_gid;
  out.nlink = static_cast<uint32_t>(found.st_nlink);
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
