#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <cerrno>

#include "attributes.h"
#include "ops.h"

namespace insitu::ops {

void getattr(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  struct stat attributes;
  if (const int error = stat_inode(*inode, attributes)) return void(request.reply_error(error));
  fuse_attr_out out;
  fill_attributes(session, attributes, out);
  request.reply_with(out);
}

void statfs(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  struct statfs numbers;
  if (::fstatfs(path->get(), &numbers) < 0) return void(request.reply_error(errno));
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
