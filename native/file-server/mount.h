#pragma once

#include <string>

#include "../common/unique_fd.h"

namespace insitu {

struct MountRequest {
  std::string mount_point;
  std::string source;  // shown in /proc/mounts
  bool allow_other;
};

// Mounts and returns the device, whose first message will be INIT. As root by mount(2), else
// through fusermount3. Throws std::system_error.
UniqueFd mount_fuse(const MountRequest& request);

// Detaches the mount point at once, open files or not. Returns 0 or an errno.
int unmount_detached(const std::string& mount_point);

}  // namespace insitu
