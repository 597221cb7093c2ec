#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kept_directory.h"
#include "tree_overlap.h"

namespace insitu {

// A detached clone of the mounts at and below a directory (O_PATH) that refuses writing by itself, so
// that no mistake of ours can let any pass: its root, O_PATH. Empty where we may not make one.
UniqueFd read_only_clone(int directory);

// The clones that are in use, for all mounts of the process: a volume of which thousands of
// directories are granted read-only is cloned once.
class ReadOnlyClones {
 public:
  static ReadOnlyClones& of_process();

  // Of the directory `backing` (O_PATH) as its mounts are now. Null where there can be none, or none
  // through which handles are opened.
  MountAnchorPtr of(int backing, const MountTable& mounts);

 private:
  using Key = std::pair<int, std::vector<std::byte>>;  // mount and handle of the directory
  struct Clone {
    std::weak_ptr<const MountAnchor> anchor;
    size_t below;   // digest of what was mounted there when it was made
    size_t mounts;  // while those were mounted, that still is so
  };

  // Null when there is none, or it shows what is not so any more.
  MountAnchorPtr find(const Key& key, int backing, const MountTable& mounts);

  std::mutex mutex_;
  std::map<Key, Clone> clones_;
};

}  // namespace insitu
