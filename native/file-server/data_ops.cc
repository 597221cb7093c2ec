// Opening regular files, and their bytes.

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "attributes.h"
#include "credentials.h"
#include "open_file.h"
#include "ops.h"
#include "reopen.h"
#include "scratch.h"

namespace insitu {

int open_file(Session& session, const InodePtr& inode, UniqueFd fd, int flags, bool may_pass,
              uint32_t uid, wire::OpenOut& out) {
  const Descriptor path = inode->descriptor();
  if (!path) return errno;
  Passthrough& passthrough = session.passthrough();
  int32_t backing_id = 0;
  const bool reads_and_writes = (flags & O_ACCMODE) == O_RDWR;
  const bool first_read_writer = reads_and_writes && inode->write_activity().last_read_writer == 0;
  const IoMode mode = passthrough.choose(inode->io_state(), path->get(),
                                         may_pass && inode->tree().may_pass, backing_id);
  if (!fd && mode != IoMode::passthrough) {
    fd = reopen(path->get(), backing_flags(flags));
    if (!fd) {
      const int error = errno;
      passthrough.released(inode->io_state(), mode);
      return error;
    }
  }
  out = {};
  switch (mode) {
    case IoMode::passthrough:
      out.open_flags = wire::kOpenPassthrough;
      out.backing_id = backing_id;
      break;
    case IoMode::direct:
      // The kernel wants all opens of an inode to name the backing file, or none.
      out.open_flags = wire::kOpenPassthrough | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
      out.backing_id = backing_id;
      break;
    case IoMode::cached:
      // Shared: what others wrote since shows at each open.
      if (inode->tree().exclusive) out.open_flags = FOPEN_KEEP_CACHE;
      break;
  }
  if (inode->tree().closes_silently) out.open_flags |= FOPEN_NOFLUSH;
  out.fh = session.files().add(
      std::make_shared<FileHandle>(std::move(fd), inode, flags, passthrough, mode), uid);
  // Attributes from before were good for long; from now on mapped stores may change them.
  if (mode == IoMode::passthrough && first_read_writer)
    session.notifier().invalidate_inode(inode->node(), -1);
  return 0;
}

namespace ops {

namespace {

bool has_setid(int fd) {
  struct stat attributes;
  return ::fstat(fd, &attributes) == 0 && (attributes.st_mode & (S_ISUID | S_ISGID));
}

// What a copy of `length` bytes can come to.
uint64_t at_most(int source, uint64_t offset, uint64_t length) {
  struct stat attributes;
  if (::fstat(source, &attributes) < 0) return length;
  const auto size = static_cast<uint64_t>(attributes.st_size);
  return size <= offset ? 0 : std::min(length, size - offset);
}

}  // namespace

void open(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  // The kernel opens others itself; here a pipe would block, and a device do what it does.
  if (inode->type() != S_IFREG) return void(request.reply_error(EINVAL));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const auto* in = request.arg<fuse_open_in>();
  const int flags = static_cast<int>(in->flags);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  UniqueFd fd;
  bool keeps_setid = false;
  // Opened here and now when that may change or refuse something: immutable and append-only files
  // are told by open(2) only.
  if (writes || (flags & (O_TRUNC | O_NOATIME))) {
    struct stat attributes;
    // What passes us by is written as if by an ordinary user, and so drops these bits.
    keeps_setid = request.by_root() && stat_inode(*inode, attributes) == 0 &&
                  (attributes.st_mode & (S_ISUID | S_ISGID));
    const KeepSetid keep(keeps_setid && !(in->open_flags & FUSE_OPEN_KILL_SUIDGID));
    const Quota::Hold held(inode->tree().quota.get(), path->get());
    fd = reopen(path->get(), backing_flags(flags) | (flags & (O_TRUNC | O_APPEND)));
    if (!fd) return void(request.reply_error(errno));
    // An append-only file wants to hear it at open; each write says it again (see backing_flags).
    if (flags & O_APPEND) ::fcntl(fd.get(), F_SETFL, backing_flags(flags));
  }
  if (flags & O_TRUNC) inode->rewritten();
  wire::OpenOut out{};
  if (const int error = open_file(session, inode, std::move(fd), flags, !keeps_setid,
                                  request.caller().uid, out))
    return void(request.reply_error(error));
  if (request.reply_with(out) != 0) session.files().remove(out.fh);
}

void read(Session& session, Request& request) {
  const auto* in = request.arg<fuse_read_in>();
  const auto file = session.files().find(in->fh);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  const auto buffer = scratch(std::min<size_t>(in->size, kMaxTransferBytes));
  const ssize_t size =
      ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(in->offset));
  if (size < 0) return void(request.reply_error(errno));
  request.reply(buffer.first(static_cast<size_t>(size)));
}

void write(Session& session, Request& request) {
  const auto* in = request.arg<fuse_write_in>();
  const auto data = request.body().subspan(sizeof *in);
  if (data.size() < in->size) return void(request.reply_error(EINVAL));
  const auto file = session.files().find(in->fh);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  const bool written_back = in->write_flags & FUSE_WRITE_CACHE;
  const KeepSetid keep_setid(!(in->write_flags & FUSE_WRITE_KILL_SUIDGID) && has_setid(fd));
  Quota::Growth growth(file->inode().tree().quota.get(), fd, in->offset, in->size);
  if (growth.error() != 0) return void(request.reply_error(growth.error()));
  const iovec bytes{const_cast<std::byte*>(data.data()), in->size};
  const int how = !written_back && (in->flags & O_APPEND) ? RWF_APPEND : 0;
  const ssize_t size = ::pwritev2(fd, &bytes, 1, static_cast<off_t>(in->offset), how);
  const int error = errno;
  growth.end();
  if (size < 0) return void(request.reply_error(error));
  request.reply_with(fuse_write_out{static_cast<uint32_t>(size), 0});
}

void copy_file_range(Session& session, Request& request) {
  const auto* in = request.arg<fuse_copy_file_range_in>();
  const auto source = session.files().find(in->fh_in);
  const auto target = session.files().find(in->fh_out);
  const int from = source ? source->descriptor() : (errno = EBADF, -1);
  if (from < 0) return void(request.reply_error(errno));
  const int to = target ? target->descriptor() : (errno = EBADF, -1);
  if (to < 0) return void(request.reply_error(errno));
  auto from_offset = static_cast<off_t>(in->off_in);
  auto to_offset = static_cast<off_t>(in->off_out);
  const KeepSetid keep_setid(request.by_root() && has_setid(to));
  // The 32-bit reply bounds what one call may copy.
  const bool wide = request.opcode() == wire::kCopyFileRange64;
  const size_t length = wide ? in->len : std::min<uint64_t>(in->len, UINT32_MAX & ~0xfffu);
  Quota* const quota = target->inode().tree().quota.get();
  Quota::Growth growth(quota, to, in->off_out, quota ? at_most(from, in->off_in, length) : 0);
  if (growth.error() != 0) return void(request.reply_error(growth.error()));
  const ssize_t size = ::copy_file_range(from, &from_offset, to, &to_offset, length,
                                         static_cast<unsigned>(in->flags));
  const int error = errno;
  growth.end();
  if (size < 0) return void(request.reply_error(error));
  if (wide) {
    request.reply_with(wire::CopyFileRangeOut{static_cast<uint64_t>(size)});
  } else {
    request.reply_with(fuse_write_out{static_cast<uint32_t>(size), 0});
  }
}

void fallocate(Session& session, Request& request) {
  const auto* in = request.arg<fuse_fallocate_in>();
  const auto file = session.files().find(in->fh);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  const KeepSetid keep_setid(request.by_root() && has_setid(fd));
  const bool grows = !(in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE));
  Quota::Growth growth(file->inode().tree().quota.get(), fd, in->offset, grows ? in->length : 0);
  if (growth.error() != 0) return void(request.reply_error(growth.error()));
  const int done = ::fallocate(fd, static_cast<int>(in->mode), static_cast<off_t>(in->offset),
                               static_cast<off_t>(in->length));
  const int error = done < 0 ? errno : 0;
  growth.end();
  request.reply_error(error);
}

// Pages that somebody stored to through a mapping may wait in the kernel's cache, unknown to the
// backing filesystem: what it calls a hole may be none.
static void seek_in_all_data(Request& request, const fuse_lseek_in& in, int fd) {
  struct stat attributes;
  if (::fstat(fd, &attributes) < 0) return void(request.reply_error(errno));
  const auto size = static_cast<uint64_t>(attributes.st_size);
  if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
    return void(request.reply_error(EINVAL));
  if (in.offset >= size) return void(request.reply_error(ENXIO));
  request.reply_with(fuse_lseek_out{in.whence == SEEK_DATA ? in.offset : size});
}

void lseek(Session& session, Request& request) {
  const auto* in = request.arg<fuse_lseek_in>();
  const auto file = session.files().find(in->fh);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  if (file->mode() == IoMode::cached && file->inode().write_activity().read_writers > 0)
    return seek_in_all_data(request, *in, fd);
  const off_t offset =
      ::lseek(fd, static_cast<off_t>(in->offset), static_cast<int>(in->whence));
  if (offset < 0) return void(request.reply_error(errno));
  request.reply_with(fuse_lseek_out{static_cast<uint64_t>(offset)});
}

// Only for backing filesystems that may report errors at close(2) or have our locks, see
// Tree::closes_silently.
void flush(Session& session, Request& request) {
  const auto* in = request.arg<fuse_flush_in>();
  const auto file = session.files().find(in->fh);
  if (file && session.options().shared_backing)
    session.locks().closed(file->inode(), in->lock_owner);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  const int copy = ::dup(fd);
  request.reply_error(copy < 0 || ::close(copy) < 0 ? errno : 0);
}

void fsync(Session& session, Request& request) {
  const auto* in = request.arg<fuse_fsync_in>();
  const auto file = session.files().find(in->fh);
  const int fd = file ? file->descriptor() : (errno = EBADF, -1);
  if (fd < 0) return void(request.reply_error(errno));
  const bool data_only = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
  request.reply_error((data_only ? ::fdatasync(fd) : ::fsync(fd)) < 0 ? errno : 0);
}

void release(Session& session, Request& request) {
  const uint64_t handle = request.arg<fuse_release_in>()->fh;
  if (session.options().shared_backing) session.locks().released(handle);
  session.files().remove(handle);
  request.reply_error(0);
}

}  // namespace ops
}  // namespace insitu
