#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "../common/unique_fd.h"

namespace insitu {

// A kernel file handle (name_to_handle_at(2)): names an inode for as long as it exists, and, having
// a generation, never another one.
class FileIdentity {
 public:
  FileIdentity() = default;
  // From `bytes()`.
  FileIdentity(std::vector<std::byte> bytes, int mount) : bytes_(std::move(bytes)), mount_(mount) {}
  // Empty when the filesystem gives none (errno says why).
  static FileIdentity of(int path);

  const std::vector<std::byte>& bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  // The mount that the object was reached through.
  int mount() const { return mount_; }
  bool operator==(const FileIdentity& other) const { return bytes_ == other.bytes_; }

  // Needs CAP_DAC_READ_SEARCH; `root` is any descriptor (not O_PATH) of the filesystem.
  UniqueFd open(int root, int flags) const;

 private:
  std::vector<std::byte> bytes_;  // handle type (int), then the handle
  int mount_ = -1;
};

}  // namespace insitu
