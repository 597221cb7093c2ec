#include "filesystem.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "reopen.h"

namespace insitu {

Filesystem::Filesystem(TreePtr its_tree, dev_t device, uint16_t number_mark, int first,
                       bool is_directory)
    : tree(std::move(its_tree)), dev(device), mark(number_mark) {
  const FileIdentity identity = is_directory ? FileIdentity::of(first) : FileIdentity{};
  if (!identity.empty() && learn(identity, first)) reach_ = Reach::handles;
}

bool Filesystem::learn(const FileIdentity& identity, int path) {
  UniqueFd directory = reopen(path, O_RDONLY | O_DIRECTORY);
  if (!directory || !identity.open(directory.get(), O_PATH)) return false;
  const std::lock_guard lock(mutex_);
  if (roots_.size() >= kMaxRoots) return false;
  roots_.push_back({identity.mount(), std::make_shared<const UniqueFd>(std::move(directory))});
  return true;
}

bool Filesystem::opens(const FileIdentity& identity, int path, bool is_directory) {
  if (identity.empty() || reach_ != Reach::handles) return false;
  {
    const std::lock_guard lock(mutex_);
    if (std::ranges::any_of(roots_, [&](const Root& root) { return root.mount == identity.mount(); }))
      return true;
  }
  return is_directory && learn(identity, path);
}

UniqueFd Filesystem::open(const FileIdentity& identity) const {
  Descriptor directory;
  {
    const std::lock_guard lock(mutex_);
    for (const Root& root : roots_)
      if (root.mount == identity.mount()) directory = root.directory;
  }
  if (!directory) {
    errno = ESTALE;
    return UniqueFd{};
  }
  return identity.open(directory->get(), O_PATH);
}

Descriptor Filesystem::any_directory() const {
  const std::lock_guard lock(mutex_);
  return roots_.empty() ? nullptr : roots_.front().directory;
}

int Filesystem::any_mount() const {
  const std::lock_guard lock(mutex_);
  return roots_.empty() ? -1 : roots_.front().mount;
}

void Filesystem::close() {
  std::vector<Root> closing;
  const std::lock_guard lock(mutex_);
  closing.swap(roots_);
}

}  // namespace insitu
