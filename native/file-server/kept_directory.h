#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "../common/unique_fd.h"
#include "file_handle.h"

namespace insitu {

// Keeps a descriptor open while it is used; empty (errno says why) when it could not be had.
using Descriptor = std::shared_ptr<const UniqueFd>;

// Some open directory of a mount. A file handle says which object of a filesystem is meant, and this
// through which mount it is opened.
struct MountAnchor {
  int mount;
  UniqueFd directory;
};
using MountAnchorPtr = std::shared_ptr<const MountAnchor>;

// One for each mount, however many open handles through it.
class MountAnchors {
 public:
  static MountAnchors& of_process();

  // Of the mount that `identity` was taken on; `path` (O_PATH) is that directory. Null where handles
  // cannot be opened.
  MountAnchorPtr of(const FileIdentity& identity, int path);

 private:
  std::mutex mutex_;
  // By mount id, which is nobody else's while one of its directories is open.
  std::map<int, std::weak_ptr<const MountAnchor>> anchors_;
};

// A directory that is kept for long, one of thousands: by file handle, which costs no descriptor, on
// local filesystems that have those; else by a descriptor.
class KeptDirectory {
 public:
  KeptDirectory() = default;
  // `path` is O_PATH.
  explicit KeptDirectory(UniqueFd path);
  // The same directory by way of another mount of its filesystem. Only of one that is kept by handle.
  KeptDirectory through(MountAnchorPtr mount) const;

  bool by_handle() const { return anchor_ != nullptr; }
  // O_PATH. Empty with errno: ESTALE when it was removed.
  UniqueFd open() const;
  // Whether `path` (O_PATH), which has its device and number, is the same directory, and not a
  // younger one that got them.
  bool is(int path) const;

 private:
  MountAnchorPtr anchor_;
  FileIdentity identity_;
  Descriptor held_;  // without a handle
};

}  // namespace insitu
