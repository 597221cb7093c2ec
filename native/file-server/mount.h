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

struct DetachedMount {
  UniqueFd device;  // its first message will be INIT
  UniqueFd root;    // O_PATH; the mount goes with it, and what was cloned of it stays
};

// A mount that is attached nowhere; trees of it can be cloned for others' namespaces, again and again.
// Root only. `mount_point` counts for nothing. Throws std::system_error.
DetachedMount mount_detached(const MountRequest& request);

// The device ("major:minor") of the mount that `fd` is on. Asks nothing of its server.
std::string device_of(int fd);

// Paths of mount points hold no links, and none is followed: whoever owns a directory on the way
// could lead us, who may be root, to a place of his choice by replacing it.

// The device ("major:minor") of the insitu mount that stands at `mount_point`; empty without one.
// Asks nothing of its server.
std::string mounted_device(const std::string& mount_point);

// The root of the insitu mount with that device (any, when empty), O_PATH; errno is set when there
// is none. Found also where the directory that it stands in was renamed.
UniqueFd open_mounted(const std::string& mount_point, const std::string& device);

// Detaches that mount at once, open files or not. Returns 0 or an errno.
int unmount_detached(const std::string& mount_point, const std::string& device = {});

// Another mount of the same filesystem as that mount, attached nowhere. As long as it is there no other filesystem
// is given the device's number. Asks nothing of its server; errno is set when it fails.
UniqueFd clone_mounted(const std::string& mount_point, const std::string& device);

// Puts it at `place`, which holds no links. Returns 0 or an errno.
int attach_clone(int clone, const std::string& place);

}  // namespace insitu
