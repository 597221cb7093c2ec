#include "filesystem.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace insitu {

Filesystem::Filesystem(TreePtr its_tree, dev_t device, uint16_t number_mark, int first,
                       bool is_directory)
    : tree(std::move(its_tree)), dev(device), mark(number_mark) {
  const FileIdentity identity = is_directory ? FileIdentity::of(first) : FileIdentity{};
  if (!identity.empty() && learn(identity, first)) reach_ = Reach::handles;
}

bool Filesystem::learn(const FileIdentity& identity, int path) {
  MountAnchorPtr anchor = MountAnchors::of_process().of(identity, path);
  if (!anchor) return false;
  const std::lock_guard lock(mutex_);
  if (roots_.size() >= kMaxRoots) return false;
  roots_.push_back(std::move(anchor));
  return true;
}

bool Filesystem::opens(const FileIdentity& identity, int path, bool is_directory) {
  if (identity.empty() || reach_ != Reach::handles) return false;
  {
    const std::lock_guard lock(mutex_);
    if (std::ranges::any_of(roots_, [&](const auto& root) { return root->mount == identity.mount(); }))
      return true;
  }
  return is_directory && learn(identity, path);
}

UniqueFd Filesystem::open(const FileIdentity& identity) const {
  MountAnchorPtr through;
  {
    const std::lock_guard lock(mutex_);
    for (const MountAnchorPtr& root : roots_)
      if (root->mount == identity.mount()) through = root;
  }
  if (!through) {
    errno = ESTALE;
    return UniqueFd{};
  }
  return identity.open(through->directory.get(), O_PATH);
}

MountAnchorPtr Filesystem::any_root() const {
  const std::lock_guard lock(mutex_);
  return roots_.empty() ? nullptr : roots_.front();
}

void Filesystem::close() {
  std::vector<MountAnchorPtr> closing;
  const std::lock_guard lock(mutex_);
  closing.swap(roots_);
}

}  // namespace insitu
