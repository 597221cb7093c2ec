#pragma once

#include <memory>
#include <string>
#include <vector>

namespace insitu {

// Where a backing tree really lies: the directories of filesystems that one sees when walking down
// it, its own and those of the mounts below. Bind mounts and symbolic links make no difference,
// because what counts is the filesystem and the path inside it, as /proc/self/mountinfo has them.
struct Extent {
  std::string device;  // major:minor
  std::string path;    // inside that filesystem, "/" is its root
};

struct MountLine {
  int id = 0;
  size_t digest = 0;  // of all of the line
  std::string device;
  std::string root;   // inside the filesystem
  std::string point;  // in our namespace
};

// What is mounted.
struct MountTable {
  std::vector<MountLine> lines;
  size_t digest = 0;  // of the whole text: the same while nothing is mounted or unmounted
};
// As it is now; read again only when something was mounted or unmounted meanwhile.
std::shared_ptr<const MountTable> mount_table();
// Of a directory (O_PATH). Throws std::system_error.
std::vector<Extent> extents_of(int directory, const MountTable& mounts);
// Of the mount of a directory (O_PATH) and of those below it: the same as long as they are, and are
// where they are. Throws std::system_error.
size_t digest_below(int directory, const MountTable& mounts);
// The whole filesystem with this device ("major:minor").
Extent whole_filesystem(const std::string& device);
// Whether any directory is in both.
bool overlap(const std::vector<Extent>& some, const std::vector<Extent>& others);

}  // namespace insitu
