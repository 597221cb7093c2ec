#pragma once

#include <fcntl.h>

#include "session.h"
#include "wire.h"

namespace insitu {

// Flags of open(2) as the backing file gets them. O_APPEND goes with each write instead, because
// the kernel may write back mapped pages through the same handle. O_DIRECT would demand alignment
// of our buffers. Who waits with O_NONBLOCK waits in the kernel.
constexpr int backing_flags(int flags) {
  constexpr int kept = O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME | O_LARGEFILE;
  return flags & kept;
}

// Makes a handle for `inode` and fills `out`; chooses how the kernel does its I/O. `fd` may be
// empty for reading only: then it is opened when something needs it. `may_pass` is whether the
// kernel may do the I/O on the backing file, `uid` who opens it. Returns 0 or an errno.
int open_file(Session& session, const InodePtr& inode, UniqueFd fd, int flags, bool may_pass,
              uint32_t uid, wire::OpenOut& out);

}  // namespace insitu
