#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "attributes.h"
#include "ops.h"
#include "reopen.h"
#include "scratch.h"

namespace insitu::ops {

void open(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const int flags = static_cast<int>(request.arg<fuse_open_in>()->flags);
  UniqueFd fd = reopen(path->get(), flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_NOFOLLOW));
  if (!fd) return void(request.reply_error(errno));
  wire::OpenOut out{};
  out.fh = session.files().add(std::make_shared<FileHandle>(std::move(fd), inode, flags));
  if (request.reply_with(out) != 0) session.files().remove(out.fh);
}

void read(Session& session, Request& request) {
  const auto* in = request.arg<fuse_read_in>();
  const auto file = session.files().find(in->fh);
  if (!file) return void(request.reply_error(EBADF));
  const auto buffer = scratch(std::min<size_t>(in->size, kMaxTransferBytes));
  const ssize_t size =
      ::pread(file->fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(in->offset));
  if (size < 0) return void(request.reply_error(errno));
  request.reply(buffer.first(static_cast<size_t>(size)));
}

void flush(Session&, Request& request) { request.reply_error(0); }

void release(Session& session, Request& request) {
  session.files().remove(request.arg<fuse_release_in>()->fh);
  request.reply_error(0);
}

}  // namespace insitu::ops
