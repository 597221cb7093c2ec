// Locks that reach the backing filesystem; the kernel sends them only where that was negotiated.

#include <sys/file.h>

#include <cerrno>

#include "locks.h"
#include "ops.h"
#include "session.h"
#include "wire.h"

namespace insitu::ops {

namespace {

// Answers the request itself when its file is not open.
bool owner_of(Session& session, Request& request, Locks::Owner& out) {
  const auto* in = request.arg<fuse_lk_in>();
  const auto file = session.files().find(in->fh);
  out = {session.inodes().find(request.node()), in->owner, in->fh, request.caller().uid,
         file && (file->flags() & O_ACCMODE) != O_RDONLY};
  if (out.inode && file) return true;
  request.reply_error(EBADF);
  return false;
}

// The wire says both ends, the last byte included.
bool range_of(const fuse_file_lock& lock, Locks::Range& out) {
  if (lock.start > static_cast<uint64_t>(INT64_MAX) || lock.end > static_cast<uint64_t>(INT64_MAX) ||
      lock.end < lock.start)
    return false;
  const bool to_end = lock.end == static_cast<uint64_t>(INT64_MAX);
  out = {static_cast<short>(lock.type), static_cast<int64_t>(lock.start),
         to_end ? 0 : static_cast<int64_t>(lock.end - lock.start + 1), lock.pid};
  return out.type == F_RDLCK || out.type == F_WRLCK || out.type == F_UNLCK;
}

int flock_of(short type) {
  return type == F_RDLCK ? LOCK_SH : type == F_WRLCK ? LOCK_EX : LOCK_UN;
}

void set(Session& session, Request& request, bool waits) {
  const auto* in = request.arg<fuse_lk_in>();
  Locks::Owner owner{};
  Locks::Range range{};
  if (!range_of(in->lk, range)) return void(request.reply_error(EINVAL));
  if (!owner_of(session, request, owner)) return;
  Locks& locks = session.locks();
  if (in->lk_flags & FUSE_LK_FLOCK) {
    const int operation = flock_of(range.type);
    if (waits) return locks.flock_and_wait(owner, operation, request);
    return void(request.reply_error(locks.flock(owner, operation)));
  }
  if (waits) return locks.lock_and_wait(owner, range, request);
  request.reply_error(locks.lock(owner, range));
}

}  // namespace

void getlk(Session& session, Request& request) {
  Locks::Owner owner{};
  Locks::Range range{};
  if (!range_of(request.arg<fuse_lk_in>()->lk, range)) return void(request.reply_error(EINVAL));
  if (!owner_of(session, request, owner)) return;
  if (const int error = session.locks().test(owner, range))
    return void(request.reply_error(error));
  fuse_lk_out out{};
  out.lk.type = static_cast<uint32_t>(range.type);
  out.lk.start = static_cast<uint64_t>(range.start);
  out.lk.end = range.length == 0 ? static_cast<uint64_t>(INT64_MAX)
                                 : static_cast<uint64_t>(range.start + range.length - 1);
  out.lk.pid = range.pid;
  request.reply_with(out);
}

void setlk(Session& session, Request& request) { set(session, request, false); }

void setlkw(Session& session, Request& request) { set(session, request, true); }

}  // namespace insitu::ops
