#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "attributes.h"
#include "credentials.h"
#include "ops.h"
#include "reopen.h"

namespace insitu::ops {

namespace {

constexpr uint32_t kTimes = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW;

timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds, uint32_t ns) {
  if (valid & now) return {0, UTIME_NOW};
  if (valid & set) return {static_cast<time_t>(seconds), static_cast<long>(ns)};
  return {0, UTIME_OMIT};
}

bool has_setid(const struct stat& attributes) {
  return S_ISREG(attributes.st_mode) && (attributes.st_mode & (S_ISUID | S_ISGID));
}

// A file that could never be filled is not made longer, though the hole takes no room.
int may_lengthen(const Quota& quota, const Inode& inode, uint64_t size) {
  struct stat attributes;
  if (const int error = stat_inode(inode, attributes)) return error;
  const auto now = static_cast<uint64_t>(attributes.st_size);
  return size > now && size - now > quota.left() ? EDQUOT : 0;
}

int truncate_to(Session& session, Inode& inode, int path, const fuse_setattr_in& in) {
  if (in.size > static_cast<uint64_t>(INT64_MAX)) return EFBIG;
  inode.rewritten();
  const auto size = static_cast<off_t>(in.size);
  struct stat attributes;
  Quota* const quota = inode.tree().quota.get();
  if (const int error = quota ? may_lengthen(*quota, inode, in.size) : 0) return error;
  const Quota::Hold held(quota, path);
  const bool keep = !(in.valid & FATTR_KILL_SUIDGID) && stat_inode(inode, attributes) == 0 &&
                    has_setid(attributes);
  const KeepSetid keep_setid(keep);
  if (in.valid & FATTR_FH) {
    // ftruncate(2) works on a file that nobody may open any more.
    const auto file = session.files().find(in.fh);
    const int fd = file ? file->descriptor() : -1;
    if (fd >= 0 && ::ftruncate(fd, size) == 0) return 0;
    if (fd >= 0 && errno != EINVAL && errno != EBADF) return errno;
  }
  return ::truncate(ProcPath(path).c_str(), size) < 0 ? errno : 0;
}

// Nothing to set is chown(2) with neither id, which moves ctime and drops setuid and setgid bits, or
// the kernel on its way to a write by somebody else that will drop them.
bool may_touch(const Request& request, const Inode& inode) {
  struct stat attributes;
  if (request.by_root()) return true;
  return stat_inode(inode, attributes) == 0 &&
         (!has_setid(attributes) || attributes.st_uid == request.caller().uid);
}

int change(Session& session, const Request& request, Inode& inode, int path,
           const fuse_setattr_in& in) {
  constexpr uint32_t values = FATTR_UID | FATTR_GID | FATTR_MODE | FATTR_SIZE | kTimes;
  if (in.valid & (FATTR_UID | FATTR_GID) ||
      (!(in.valid & values) && may_touch(request, inode))) {
    const uid_t uid = in.valid & FATTR_UID ? in.uid : static_cast<uid_t>(-1);
    const gid_t gid = in.valid & FATTR_GID ? in.gid : static_cast<gid_t>(-1);
    const KeepSetid keep_setid(request.by_root());
    if (::fchownat(path, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) return errno;
  }
  if (in.valid & FATTR_MODE) {
    if (inode.is_symlink()) return EOPNOTSUPP;
    // The kernel has already taken off the bits that the caller may not set.
    const KeepSetid keep_setid(in.mode & S_ISGID);
    if (::chmod(ProcPath(path).c_str(), in.mode & 07777) < 0) return errno;
  }
  if (in.valid & FATTR_SIZE)
    if (const int error = truncate_to(session, inode, path, in)) return error;
  if (in.valid & kTimes) {
    const timespec times[] = {
        time_of(in.valid, FATTR_ATIME, FATTR_ATIME_NOW, in.atime, in.atimensec),
        time_of(in.valid, FATTR_MTIME, FATTR_MTIME_NOW, in.mtime, in.mtimensec),
    };
    if (::utimensat(path, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) {
      // AT_EMPTY_PATH is newer than Linux 5.7.
      if (errno != EINVAL || inode.is_symlink()) return errno;
      if (::utimensat(AT_FDCWD, ProcPath(path).c_str(), times, 0) < 0) return errno;
    }
  }
  return 0;
}

// What a tree with a quota shows of its filesystem.
void limit_to(const Quota& quota, struct statfs& numbers) {
  const auto block = static_cast<uint64_t>(numbers.f_frsize ? numbers.f_frsize : numbers.f_bsize);
  const auto blocks = static_cast<fsblkcnt_t>(quota.limit() / block);
  const auto left = static_cast<fsblkcnt_t>(quota.left() / block);
  numbers.f_blocks = std::min(numbers.f_blocks, blocks);
  numbers.f_bfree = std::min({numbers.f_bfree, numbers.f_bavail, left});
  numbers.f_bavail = numbers.f_bfree;
}

wire::StatxTime statx_time(const statx_timestamp& time) { return {time.tv_sec, time.tv_nsec, 0}; }

}  // namespace

void getattr(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  struct stat attributes;
  if (const int error = stat_inode(*inode, attributes)) return void(request.reply_error(error));
  reply_attributes(session, request, *inode, attributes);
}

void setattr(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const auto* in = request.arg<fuse_setattr_in>();
  if (const int error = change(session, request, *inode, path->get(), *in))
    return void(request.reply_error(error));
  struct stat attributes;
  if (const int error = stat_inode(*inode, attributes)) return void(request.reply_error(error));
  reply_attributes(session, request, *inode, attributes);
}

void statx(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const auto* in = request.arg<wire::StatxIn>();
  struct statx found;
  const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW |
                    static_cast<int>(in->sx_flags & (AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC));
  if (::statx(path->get(), "", flags, in->sx_mask, &found) < 0)
    return void(request.reply_error(errno));
  wire::StatxOut out{};
  const uint64_t valid_ns = attributes_ns(session, *inode);
  out.attr_valid = seconds_of(valid_ns);
  out.attr_valid_nsec = nanoseconds_of(valid_ns);
  wire::Statx& stat = out.stat;
  stat.mask = found.stx_mask;
  stat.blksize = found.stx_blksize;
  stat.attributes = found.stx_attributes;
  stat.attributes_mask = found.stx_attributes_mask;
  stat.nlink = found.stx_nlink;
  stat.uid = found.stx_uid;
  stat.gid = found.stx_gid;
  stat.mode = found.stx_mode;
  stat.ino = shown_ino(session, inode->filesystem(), found.stx_ino);
  stat.size = found.stx_size;
  stat.blocks = found.stx_blocks;
  stat.atime = statx_time(found.stx_atime);
  stat.btime = statx_time(found.stx_btime);
  stat.ctime = statx_time(found.stx_ctime);
  stat.mtime = statx_time(found.stx_mtime);
  if (!session.options().hide_devices) {
    stat.rdev_major = found.stx_rdev_major;
    stat.rdev_minor = found.stx_rdev_minor;
  }
  stat.dev_major = found.stx_dev_major;
  stat.dev_minor = found.stx_dev_minor;
  request.reply_with(out);
}

void statfs(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  struct statfs numbers;
  if (::fstatfs(path->get(), &numbers) < 0) return void(request.reply_error(errno));
  if (const Quota* const quota = inode->tree().quota.get()) limit_to(*quota, numbers);
  fuse_statfs_out out{};
  out.st.blocks = numbers.f_blocks;
  out.st.bfree = numbers.f_bfree;
  out.st.bavail = numbers.f_bavail;
  out.st.files = numbers.f_files;
  out.st.ffree = numbers.f_ffree;
  out.st.bsize = static_cast<uint32_t>(numbers.f_bsize);
  out.st.namelen = static_cast<uint32_t>(numbers.f_namelen);
  out.st.frsize = static_cast<uint32_t>(numbers.f_frsize);
  request.reply_with(out);
}

}  // namespace insitu::ops
