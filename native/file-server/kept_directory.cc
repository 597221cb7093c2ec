#include "kept_directory.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include <cerrno>
#include <utility>

#include "local_filesystem.h"
#include "reopen.h"

namespace insitu {

MountAnchors& MountAnchors::of_process() {
  static MountAnchors anchors;
  return anchors;
}

MountAnchorPtr MountAnchors::of(const FileIdentity& identity, int path) {
  if (identity.empty()) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = anchors_.find(identity.mount());
    if (found != anchors_.end())
      if (MountAnchorPtr known = found->second.lock()) return known;
  }
  UniqueFd directory = reopen(path, O_RDONLY | O_DIRECTORY);
  // Not every filesystem that gives handles opens them, and not everybody may.
  if (!directory || !identity.open(directory.get(), O_PATH)) return nullptr;
  auto anchor =
      std::make_shared<const MountAnchor>(MountAnchor{identity.mount(), std::move(directory)});
  const std::lock_guard lock(mutex_);
  std::erase_if(anchors_, [](const auto& entry) { return entry.second.expired(); });
  anchors_.insert_or_assign(identity.mount(), anchor);
  return anchor;
}

KeptDirectory::KeptDirectory(UniqueFd path) : identity_(FileIdentity::of(path.get())) {
  struct statfs filesystem{};
  ::fstatfs(path.get(), &filesystem);
  // Elsewhere a handle may be good for only as long as the kernel remembers what it stands for.
  if (is_local_filesystem(static_cast<uint64_t>(filesystem.f_type)))
    anchor_ = MountAnchors::of_process().of(identity_, path.get());
  if (!anchor_) held_ = std::make_shared<const UniqueFd>(std::move(path));
}

KeptDirectory KeptDirectory::through(MountAnchorPtr mount) const {
  KeptDirectory out = *this;
  out.anchor_ = std::move(mount);
  return out;
}

UniqueFd KeptDirectory::open() const {
  if (anchor_) return identity_.open(anchor_->directory.get(), O_PATH | O_DIRECTORY);
  if (held_) return UniqueFd(::fcntl(held_->get(), F_DUPFD_CLOEXEC, 0));
  errno = ESTALE;
  return UniqueFd{};
}

bool KeptDirectory::is(int path) const { return held_ || identity_ == FileIdentity::of(path); }

}  // namespace insitu
