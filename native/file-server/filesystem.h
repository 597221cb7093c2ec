#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../common/unique_fd.h"
#include "file_handle.h"
#include "kept_directory.h"
#include "tree.h"

namespace insitu {

// One filesystem as one tree reaches it, and how its inodes are found again once their descriptors
// were given up: by file handle where it has them and we may open by them; else by parent and name,
// checked (`paths`).
class Filesystem {
 public:
  enum class Reach : uint8_t { handles, paths };

  // `first` is O_PATH, of the filesystem; only a directory tells whether there are handles.
  Filesystem(TreePtr its_tree, dev_t device, uint16_t number_mark, int first, bool is_directory);

  const TreePtr tree;
  const dev_t dev;
  const uint16_t mark;  // see InodeNumbers
  Reach reach() const { return reach_; }

  // Whether `identity` can be opened again. Handles are opened through the mount that they were
  // reached through, because another mount of the same filesystem may allow more. `path` is the
  // object's descriptor; a directory's makes its mount known.
  bool opens(const FileIdentity& identity, int path, bool is_directory);
  // O_PATH; empty with errno.
  UniqueFd open(const FileIdentity& identity) const;
  // A mount through which it is reached; null where there are no handles.
  MountAnchorPtr any_root() const;
  // No descriptor is kept from here on.
  void close();

 private:
  // Of bind mounts of one filesystem inside one tree.
  static constexpr size_t kMaxRoots = 64;

  bool learn(const FileIdentity& identity, int path);

  Reach reach_ = Reach::paths;
  mutable std::mutex mutex_;  // guards what follows; innermost
  std::vector<MountAnchorPtr> roots_;
};

using FilesystemPtr = std::shared_ptr<Filesystem>;

}  // namespace insitu
