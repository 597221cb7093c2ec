// Operations that make something; it belongs to the caller.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "attributes.h"
#include "credentials.h"
#include "open_file.h"
#include "ops.h"
#include "reopen.h"

namespace insitu::ops {

namespace {

// Directory and new name of a creating request; answers the request itself when there are none.
struct Place {
  InodePtr parent;
  Descriptor directory;
  std::string_view name;

  Place(Session& session, Request& request, size_t name_offset)
      : parent(session.inodes().find(request.node())), name(request.name(name_offset)) {
    if (!parent) {
      request.reply_error(ESTALE);
    } else if (!is_component(name)) {
      request.reply_error(EINVAL);
    } else if (!(directory = parent->descriptor())) {
      request.reply_error(errno);
    }
  }
  explicit operator bool() const { return directory != nullptr; }
  int fd() const { return directory->get(); }
};

void reply_new(Session& session, Request& request, const Place& place) {
  fuse_entry_out out;
  InodePtr child;
  if (const int error = look_up(session, *place.parent, place.name, out, child))
    return void(request.reply_error(error));
  Quota* const quota = child->tree().quota.get();
  if (quota && request.opcode() != FUSE_LINK)
    if (const Descriptor made = child->descriptor()) quota->added(made->get());
  reply_entry(session, request, out);
}

// An O_PATH descriptor of what `fd` has open; by its name where that still is the same object,
// because that is cheaper.
UniqueFd path_of(int fd, int directory, const char* name, const struct stat& attributes) {
  UniqueFd path(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat named;
  if (path && ::fstat(path.get(), &named) == 0 && named.st_ino == attributes.st_ino &&
      named.st_dev == attributes.st_dev)
    return path;
  return reopen(fd, O_PATH);
}

void reply_created(Session& session, Request& request, UniqueFd fd, UniqueFd path,
                   const FileStat& attributes, int flags, const Inode& parent,
                   std::string_view name) {
  fuse_entry_out entry;
  const InodePtr inode = remember(session, std::move(path), attributes, parent, name, entry);
  wire::OpenOut opened{};
  const bool keeps_setid = request.by_root() && (attributes.st_mode & (S_ISUID | S_ISGID));
  const int error = open_file(session, inode, std::move(fd), flags, !keeps_setid,
                              request.caller().uid, opened);
  if (error != 0) {
    session.inodes().forget(entry.nodeid, 1);
    return void(request.reply_error(error));
  }
  if (request.reply(std::as_bytes(std::span{&entry, 1}), std::as_bytes(std::span{&opened, 1})) == 0)
    return;
  session.files().remove(opened.fh);
  session.inodes().forget(entry.nodeid, 1);
}

}  // namespace

void create(Session& session, Request& request) {
  const auto* in = request.arg<fuse_create_in>();
  const Place place(session, request, sizeof(fuse_create_in));
  if (!place) return;
  const int flags = static_cast<int>(in->flags);
  UniqueFd fd;
  int error = 0;
  {
    const CreateAs as(request, in->mode, in->umask);
    // Always exclusively: an existing file must be opened on the caller's rights, not on ours.
    fd.reset(::openat(place.fd(), place.name.data(),
                      backing_flags(flags) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, as.mode()));
    error = errno;
  }
  // It appeared after the kernel's lookup: ESTALE makes the kernel look again and then open it.
  if (!fd) return void(request.reply_error(error == EEXIST && !(flags & O_EXCL) ? ESTALE : error));
  FileStat attributes;
  if (const int failed = stat_at(fd.get(), "", AT_EMPTY_PATH, attributes))
    return void(request.reply_error(failed));
  UniqueFd path = path_of(fd.get(), place.fd(), place.name.data(), attributes);
  if (!path) return void(request.reply_error(errno));
  reply_created(session, request, std::move(fd), std::move(path), attributes, flags,
                *place.parent, place.name);
}

void tmpfile(Session& session, Request& request) {
  const auto* in = request.arg<fuse_create_in>();
  const InodePtr parent = session.inodes().find(request.node());
  if (!parent) return void(request.reply_error(ESTALE));
  const Descriptor directory = parent->descriptor();
  if (!directory) return void(request.reply_error(errno));
  const int flags = static_cast<int>(in->flags);
  UniqueFd fd;
  int error = 0;
  {
    const CreateAs as(request, in->mode, in->umask);
    fd.reset(::openat(directory->get(), ".",
                      (backing_flags(flags) & ~O_CREAT) | O_TMPFILE | (flags & O_EXCL) | O_CLOEXEC,
                      as.mode()));
    error = errno;
  }
  if (!fd) return void(request.reply_error(error));
  FileStat attributes;
  if (const int failed = stat_at(fd.get(), "", AT_EMPTY_PATH, attributes))
    return void(request.reply_error(failed));
  UniqueFd path = reopen(fd.get(), O_PATH);
  if (!path) return void(request.reply_error(errno));
  reply_created(session, request, std::move(fd), std::move(path), attributes, flags, *parent, {});
}

void mknod(Session& session, Request& request) {
  const auto* in = request.arg<fuse_mknod_in>();
  const Place place(session, request, sizeof(fuse_mknod_in));
  if (!place) return;
  // The kernel's 32-bit encoding of device numbers.
  const dev_t device = gnu_dev_makedev((in->rdev & 0xfff00) >> 8,
                                       (in->rdev & 0xff) | ((in->rdev >> 12) & 0xfff00));
  int error = 0;
  {
    const CreateAs as(request, in->mode, in->umask);
    if (::mknodat(place.fd(), place.name.data(), as.mode(), device) < 0) error = errno;
  }
  if (error) return void(request.reply_error(error));
  reply_new(session, request, place);
}

void mkdir(Session& session, Request& request) {
  const auto* in = request.arg<fuse_mkdir_in>();
  const Place place(session, request, sizeof(fuse_mkdir_in));
  if (!place) return;
  int error = 0;
  {
    const CreateAs as(request, in->mode, in->umask);
    if (::mkdirat(place.fd(), place.name.data(), as.mode()) < 0) error = errno;
  }
  if (error) return void(request.reply_error(error));
  reply_new(session, request, place);
}

void symlink(Session& session, Request& request) {
  const Place place(session, request, 0);
  if (!place) return;
  const std::string_view target = request.name(place.name.size() + 1);
  int error = 0;
  {
    const CreateAs as(request, 0, 0);
    if (::symlinkat(target.data() ? target.data() : "", place.fd(), place.name.data()) < 0)
      error = errno;
  }
  if (error) return void(request.reply_error(error));
  reply_new(session, request, place);
}

void link(Session& session, Request& request) {
  const InodePtr source = session.inodes().find(request.arg<fuse_link_in>()->oldnodeid);
  if (!source) return void(request.reply_error(ESTALE));
  const Place place(session, request, sizeof(fuse_link_in));
  if (!place) return;
  const Descriptor path = source->descriptor();
  if (!path) return void(request.reply_error(errno));
  int made = ::linkat(path->get(), "", place.fd(), place.name.data(), AT_EMPTY_PATH);
  // Without CAP_DAC_READ_SEARCH; the magic link is followed, so never for symlinks.
  if (made < 0 && errno == ENOENT && !source->is_symlink())
    made = ::linkat(AT_FDCWD, ProcPath(path->get()).c_str(), place.fd(), place.name.data(),
                    AT_SYMLINK_FOLLOW);
  if (made < 0) return void(request.reply_error(errno));
  reply_new(session, request, place);
}

}  // namespace insitu::ops
