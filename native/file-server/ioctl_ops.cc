#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "attributes.h"
#include "ops.h"
#include "reopen.h"

namespace insitu::ops {

namespace {

// Inode flags (lsattr, chattr, xfs_io): plain data that means the same here as there. The kernel
// has checked the caller's rights. Any other ioctl is the device's or filesystem's own business.
size_t payload_size(uint32_t command) {
  switch (command) {
    case FS_IOC_GETFLAGS:
    case FS_IOC_SETFLAGS:
    case FS_IOC_GETVERSION:
      return sizeof(int);  // whatever the command's number says
    case FS_IOC_FSGETXATTR:
    case FS_IOC_FSSETXATTR:
      return sizeof(struct fsxattr);
    default:
      return 0;
  }
}

}  // namespace

void ioctl(Session& session, Request& request) {
  const auto* in = request.arg<fuse_ioctl_in>();
  const size_t size = payload_size(in->cmd);
  if (size == 0) return void(request.reply_error(ENOTTY));
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const UniqueFd fd = reopen(path->get(), O_RDONLY | O_NONBLOCK);
  if (!fd) return void(request.reply_error(errno));
  std::byte payload[sizeof(struct fsxattr)]{};
  const auto given = request.body().subspan(sizeof *in);
  std::memcpy(payload, given.data(), std::min({given.size(), size_t{in->in_size}, size}));
  const int error = ::ioctl(fd.get(), in->cmd, payload) < 0 ? errno : 0;
  // ctime moved; with ext4 also where it failed half-way.
  if (in->cmd == FS_IOC_SETFLAGS || in->cmd == FS_IOC_FSSETXATTR)
    session.notifier().drop_attributes(inode->node());
  if (error) return void(request.reply_error(error));
  const fuse_ioctl_out out{};
  request.reply(std::as_bytes(std::span{&out, 1}),
                std::span{payload}.first(std::min<size_t>(size, in->out_size)));
}

// A regular file is always ready. Answered, because ENOSYS would end polling on virtual files too.
void poll(Session&, Request& request) {
  constexpr uint32_t always = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
  request.reply_with(fuse_poll_out{request.arg<fuse_poll_in>()->events & always, 0});
}

}  // namespace insitu::ops
