// Operations that take names away or move them.

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "attributes.h"
#include "credentials.h"
#include "ops.h"
#include "scratch.h"

namespace insitu::ops {

namespace {

// The inode that `name` stands for now, if the kernel knows it.
InodePtr known_child(Session& session, const Inode& parent, int directory, const char* name) {
  struct stat attributes;
  if (::fstatat(directory, name, &attributes, AT_SYMLINK_NOFOLLOW) < 0) return nullptr;
  return session.inodes().find(parent, attributes.st_dev, attributes.st_ino);
}

// What loses its name may lose its last one, and is then reached by its descriptor only.
InodePtr hold_child(Session& session, const Inode& parent, int directory, const char* name) {
  if (!session.inodes().evicts()) return nullptr;
  InodePtr child = known_child(session, parent, directory, name);
  if (child) session.inodes().pin(*child);
  return child;
}

// While it lives, a tree's quota sees whether what has that name now loses its last one.
class CountedRemoval {
 public:
  CountedRemoval(const Tree& tree, int directory, const char* name)
      : path_(tree.quota ? ::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1),
        held_(path_ ? tree.quota.get() : nullptr, path_.get()) {}
  void end() { held_.end(); }

 private:
  const UniqueFd path_;
  Quota::Hold held_;
};

void remove(Session& session, Request& request, int flags) {
  const InodePtr parent = session.inodes().find(request.node());
  if (!parent) return void(request.reply_error(ESTALE));
  const std::string_view name = request.name(0);
  if (!is_component(name)) return void(request.reply_error(EINVAL));
  const Descriptor directory = parent->descriptor();
  if (!directory) return void(request.reply_error(errno));
  VirtualLayer* const layer = session.virtual_layer();
  const bool is_rmdir = flags & AT_REMOVEDIR;
  InodePtr child = is_rmdir && layer ? known_child(session, *parent, directory->get(), name.data())
                                     : hold_child(session, *parent, directory->get(), name.data());
  CountedRemoval counted(parent->tree(), directory->get(), name.data());
  if (::unlinkat(directory->get(), name.data(), flags) < 0)
    return void(request.reply_error(errno));
  counted.end();
  // Before the reply: who is told that it is gone finds it gone everywhere.
  if (is_rmdir && layer && child && child->tree().is_volume())
    layer->directory_removed(*child);
  request.reply_error(0);
}

void rename_to(Session& session, Request& request, uint64_t new_node, size_t names_offset,
               uint32_t flags) {
  const InodePtr from = session.inodes().find(request.node());
  const InodePtr to = session.inodes().find(new_node);
  if (!from || !to) return void(request.reply_error(ESTALE));
  const std::string_view old_name = request.name(names_offset);
  const std::string_view new_name = request.name(names_offset + old_name.size() + 1);
  if (!is_component(old_name) || !is_component(new_name))
    return void(request.reply_error(EINVAL));
  const Descriptor from_directory = from->descriptor();
  const Descriptor to_directory = from == to ? from_directory : to->descriptor();
  if (!from_directory || !to_directory) return void(request.reply_error(errno));
  VirtualLayer* const layer = session.virtual_layer();
  const bool replaces = !(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE));
  InodePtr replaced;
  if (replaces && layer) {
    replaced = known_child(session, *to, to_directory->get(), new_name.data());
    if (replaced && session.inodes().evicts()) session.inodes().pin(*replaced);
  } else if (replaces) {
    replaced = hold_child(session, *to, to_directory->get(), new_name.data());
  }
  CountedRemoval counted(to->tree(), to_directory->get(), new_name.data());
  const bool by_path = from->filesystem().reach() == Filesystem::Reach::paths;
  const InodePtr moving =
      by_path ? known_child(session, *from, from_directory->get(), old_name.data()) : nullptr;
  const InodePtr back =
      by_path && (flags & RENAME_EXCHANGE)
          ? known_child(session, *to, to_directory->get(), new_name.data())
          : nullptr;
  int error = 0;
  if (flags & RENAME_WHITEOUT) {
    const CreateAs as(request, 0, 0);
    if (::renameat2(from_directory->get(), old_name.data(), to_directory->get(), new_name.data(),
                    flags) < 0)
      error = errno;
  } else if (::renameat2(from_directory->get(), old_name.data(), to_directory->get(),
                         new_name.data(), flags) < 0) {
    error = errno;
  }
  counted.end();
  // ext4 undoes a whiteout that came to nothing, and that moves the directories' times.
  if (error && (flags & RENAME_WHITEOUT))
    for (const auto& directory : {from, to})
      session.notifier().drop_attributes(directory->node());
  if (error) return void(request.reply_error(error));
  if (moving) session.inodes().moved(*moving, *to, new_name);
  if (back) session.inodes().moved(*back, *from, old_name);
  if (layer && replaced && replaced->is_directory() && replaced->tree().is_volume())
    layer->directory_removed(*replaced);
  request.reply_error(0);
}

}  // namespace

void unlink(Session& session, Request& request) { remove(session, request, 0); }

void rmdir(Session& session, Request& request) { remove(session, request, AT_REMOVEDIR); }

void rename(Session& session, Request& request) {
  rename_to(session, request, request.arg<fuse_rename_in>()->newdir, sizeof(fuse_rename_in), 0);
}

void rename2(Session& session, Request& request) {
  const auto* in = request.arg<fuse_rename2_in>();
  rename_to(session, request, in->newdir, sizeof(fuse_rename2_in), in->flags);
}

void readlink(Session& session, Request& request) {
  const InodePtr inode = session.inodes().find(request.node());
  if (!inode) return void(request.reply_error(ESTALE));
  const Descriptor path = inode->descriptor();
  if (!path) return void(request.reply_error(errno));
  const auto buffer = scratch(PATH_MAX);
  const ssize_t size =
      ::readlinkat(path->get(), "", reinterpret_cast<char*>(buffer.data()), buffer.size());
  if (size < 0) return void(request.reply_error(errno));
  request.reply(buffer.first(static_cast<size_t>(size)));
}

}  // namespace insitu::ops
