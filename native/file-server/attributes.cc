#include "attributes.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>

namespace insitu {

bool is_component(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

uint64_t shown_ino(Session& session, const Filesystem& filesystem, ino_t ino) {
  return session.inodes().numbers().shown(filesystem.mark, ino);
}

fuse_attr attributes_of(Session& session, const Inode& inode, const struct stat& attributes) {
  fuse_attr out{};
  out.ino = shown_ino(session, inode.filesystem(), attributes.st_ino);
  out.size = static_cast<uint64_t>(attributes.st_size);
  out.blocks = static_cast<uint64_t>(attributes.st_blocks);
  out.atime = static_cast<uint64_t>(attributes.st_atim.tv_sec);
  out.mtime = static_cast<uint64_t>(attributes.st_mtim.tv_sec);
  out.ctime = static_cast<uint64_t>(attributes.st_ctim.tv_sec);
  out.atimensec = static_cast<uint32_t>(attributes.st_atim.tv_nsec);
  out.mtimensec = static_cast<uint32_t>(attributes.st_mtim.tv_nsec);
  out.ctimensec = static_cast<uint32_t>(attributes.st_ctim.tv_nsec);
  out.mode = attributes.st_mode;
  out.nlink = static_cast<uint32_t>(attributes.st_nlink);
  out.uid = attributes.st_uid;
  out.gid = attributes.st_gid;
  // The kernel's own 32-bit encoding of device numbers.
  const dev_t device = session.options().hide_devices ? 0 : attributes.st_rdev;
  const uint32_t major = gnu_dev_major(device);
  const uint32_t minor = gnu_dev_minor(device);
  out.rdev = (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
  out.blksize = static_cast<uint32_t>(attributes.st_blksize);
  return out;
}

uint64_t attributes_ns(const Session& session, const Inode& inode) {
  // Stores to a mapping of a passthrough file change its times without our knowing, also after the
  // last close: a file that was ever open for both reading and writing is asked about each time.
  if (session.passthrough().enabled() && inode.write_activity().last_read_writer != 0) return 0;
  return inode.tree().times.attributes_ns;
}

int stat_inode(const Inode& inode, struct stat& attributes) {
  const Descriptor path = inode.descriptor();
  if (!path) return errno;
  return ::fstatat(path->get(), "", &attributes, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? errno
                                                                                          : 0;
}

void reply_attributes(Session& session, Request& request, const Inode& inode,
                      const struct stat& attributes) {
  fuse_attr_out out{};
  const uint64_t valid_ns = attributes_ns(session, inode);
  out.attr_valid = seconds_of(valid_ns);
  out.attr_valid_nsec = nanoseconds_of(valid_ns);
  out.attr = attributes_of(session, inode, attributes);
  request.reply_with(out);
}

namespace {

void fill_entry(Session& session, const Inode& inode, const struct stat& attributes,
                uint64_t entry_ns, fuse_entry_out& out) {
  const uint64_t valid_ns = attributes_ns(session, inode);
  out = {};
  out.nodeid = inode.node();
  out.generation = 1;  // node ids are never reused
  out.entry_valid = seconds_of(entry_ns);
  out.entry_valid_nsec = nanoseconds_of(entry_ns);
  out.attr_valid = seconds_of(valid_ns);
  out.attr_valid_nsec = nanoseconds_of(valid_ns);
  out.attr = attributes_of(session, inode, attributes);
}

// Nobody changes a point but us, so its name is good for as long as any is.
int look_up_root(Session& session, const Inode& parent, const Graft& graft, fuse_entry_out& out,
                 InodePtr& child) {
  UniqueFd path = graft.root.open();
  FileStat attributes;
  if (!path || ::fstat(path.get(), &attributes) < 0) return errno;
  child = session.inodes().remember(std::move(path), attributes, graft.filesystem);
  fill_entry(session, *child, attributes, parent.tree().times.entry_ns, out);
  return 0;
}

}  // namespace

InodePtr remember(Session& session, UniqueFd path, const FileStat& attributes,
                  const Inode& parent, std::string_view name, fuse_entry_out& out) {
  InodePtr inode = session.inodes().remember(std::move(path), attributes, parent, name);
  fill_entry(session, *inode, attributes, parent.tree().times.entry_ns, out);
  return inode;
}

int look_up(Session& session, const Inode& parent, std::string_view name, fuse_entry_out& out,
            InodePtr& child) {
  if (!is_component(name)) return EINVAL;
  if (const GraftPtr graft = session.grafts().at(parent, name)) [[unlikely]]
    return look_up_root(session, parent, *graft, out, child);
  const Descriptor directory = parent.descriptor();
  if (!directory) return errno;
  // Names in a request end with NUL. Most names are asked for again because a second has passed.
  FileStat attributes;
  if (const int error = stat_at(directory->get(), name.data(), 0, attributes)) return error;
  child = session.inodes().recognize(attributes, parent, name);
  if (!child) {
    UniqueFd path(::openat(directory->get(), name.data(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!path) return errno;
    if (const int error = stat_at(path.get(), "", AT_EMPTY_PATH, attributes)) return error;
    child = session.inodes().remember(std::move(path), attributes, parent, name);
  }
  fill_entry(session, *child, attributes, parent.tree().times.entry_ns, out);
  return 0;
}

void reply_entry(Session& session, Request& request, const fuse_entry_out& out) {
  if (request.reply_with(out) != 0) session.inodes().forget(out.nodeid, 1);
}

}  // namespace insitu
