#include "file_stat.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>

namespace insitu {

namespace {

timespec time_of(const statx_timestamp& time) {
  return {static_cast<time_t>(time.tv_sec), static_cast<long>(time.tv_nsec)};
}

}  // namespace

int stat_at(int directory, const char* name, int flags, FileStat& out) {
  struct statx st;
  if (::statx(directory, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
    return errno;
  out = {};
  out.st_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  out.st_ino = st.stx_ino;
  out.st_mode = st.stx_mode;
  out.st_nlink = st.stx_nlink;
  out.st_uid = st.stx_uid;
  out.st_gid = st.stx_gid;
  out.st_rdev = makedev(st.stx_rdev_major, st.stx_rdev_minor);
  out.st_size = static_cast<off_t>(st.stx_size);
  out.st_blksize = static_cast<blksize_t>(st.stx_blksize);
  out.st_blocks = static_cast<blkcnt_t>(st.stx_blocks);
  out.st_atim = time_of(st.stx_atime);
  out.st_mtim = time_of(st.stx_mtime);
  out.st_ctim = time_of(st.stx_ctime);
  if (st.stx_mask & STATX_BTIME)
    out.birth_ns = st.stx_btime.tv_sec * 1'000'000'000 + st.stx_btime.tv_nsec;
  return 0;
}

}  // namespace insitu
