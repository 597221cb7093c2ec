#pragma once

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

// Of a directory (O_PATH). Throws std::system_error.
std::vector<Extent> extents_of(int directory);
// The whole filesystem with this device ("major:minor").
Extent whole_filesystem(const std::string& device);
// Whether any directory is in both.
bool overlap(const std::vector<Extent>& some, const std::vector<Extent>& others);

}  // namespace insitu
