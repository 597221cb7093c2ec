#include "read_only_clones.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

namespace insitu {

UniqueFd read_only_clone(int directory) {
  UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, directory, "",
                                           AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE |
                                               O_CLOEXEC)));
  if (!tree) return UniqueFd{};
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                sizeof attributes) != 0)
    return UniqueFd{};
  return UniqueFd(::openat(tree.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

ReadOnlyClones& ReadOnlyClones::of_process() {
  static ReadOnlyClones clones;
  return clones;
}

MountAnchorPtr ReadOnlyClones::of(int backing, const MountTable& mounts) {
  const FileIdentity identity = FileIdentity::of(backing);
  if (identity.empty()) return nullptr;
  const Key key{identity.mount(), identity.bytes()};
  if (MountAnchorPtr known = find(key, backing, mounts)) return known;
  const size_t below = digest_below(backing, mounts);
  const UniqueFd clone = read_only_clone(backing);
  if (!clone) return nullptr;
  MountAnchorPtr anchor = MountAnchors::of_process().of(FileIdentity::of(clone.get()), clone.get());
  if (!anchor) return nullptr;
  const std::lock_guard lock(mutex_);
  std::erase_if(clones_, [](const auto& entry) { return entry.second.anchor.expired(); });
  clones_.insert_or_assign(key, Clone{anchor, below, mounts.digest});
  return anchor;
}

MountAnchorPtr ReadOnlyClones::find(const Key& key, int backing, const MountTable& mounts) {
  const std::lock_guard lock(mutex_);
  const auto found = clones_.find(key);
  if (found == clones_.end()) return nullptr;
  Clone& clone = found->second;
  if (clone.mounts != mounts.digest && clone.below != digest_below(backing, mounts)) return nullptr;
  clone.mounts = mounts.digest;
  return clone.anchor.lock();
}

}  // namespace insitu
