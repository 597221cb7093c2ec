// What this system's headers do not have yet of statmount(2) and statx(2).
#pragma once

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/types.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "containers/refusal.h"

namespace insitu {

// Of the mount that `fd` is on; never given to another mount.
inline uint64_t mount_id(int fd) {
  constexpr unsigned kStatxMountIdUnique = 0x4000;  // Linux 6.8
  struct statx out{};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, kStatxMountIdUnique, &out) != 0)
    fail("look at a mount");
  if (!(out.stx_mask & kStatxMountIdUnique)) refuse("Linux 6.15 or newer is needed");
  return out.stx_mnt_id;
}

// struct statmount (Linux 6.8); the kernel fills as much as there is room for.
struct StatMount {
  uint32_t size, options;
  uint64_t mask;
  uint32_t device_major, device_minor;
  uint64_t magic;
  uint32_t superblock_flags, type;
  uint64_t id, parent;
  uint32_t old_id, old_parent;
  uint64_t attributes, propagation, peer_group, master, propagate_from;
  uint32_t root, mount_point;
  uint64_t rest[50];
  char text[4'096 + 1];
};

constexpr uint64_t kSuperblockBasics = 1, kMountBasics = 2, kMountRoot = 8, kMountPoint = 16;

// Of a mount in this namespace. False: it is not there, or nothing can be told of it; see errno.
inline bool stat_mount(uint64_t mount, uint64_t what, StatMount& out) {
  constexpr long kSysStatmount = 457;
  struct {
    uint32_t size = 24;
    uint32_t spare = 0;
    uint64_t mount, what;
  } request;
  request.mount = mount;
  request.what = what;
  return ::syscall(kSysStatmount, &request, &out, sizeof out, 0) == 0;
}

// Whether mounts on it appear in other namespaces as well. What cannot be told counts as shared.
inline bool is_shared(uint64_t mount) {
  constexpr uint64_t kShared = 1u << 20;  // MS_SHARED
  StatMount out{};
  return !stat_mount(mount, kMountBasics, out) || (out.propagation & kShared) != 0;
}

// Where it is mounted, from our root on. False: it is mounted nowhere in this namespace.
inline bool place_of(uint64_t mount, std::string& path) {
  StatMount out{};
  if (!stat_mount(mount, kMountPoint, out)) return false;
  path = out.text + out.mount_point;
  return true;
}

// The directory or file of its filesystem that it shows.
inline bool root_of(uint64_t mount, std::string& path) {
  StatMount out{};
  if (!stat_mount(mount, kMountRoot, out)) return false;
  path = out.text + out.root;
  return true;
}

constexpr uint64_t kAllMounts = UINT64_MAX;

// Those that are mounted in it; of `kAllMounts` all below our root. At most so many that nobody has more.
inline std::vector<uint64_t> mounts_in(uint64_t mount) {
  constexpr long kSysListmount = 458;
  struct {
    uint32_t size = 24;
    uint32_t spare = 0;
    uint64_t mount, last = 0;
  } request;
  request.mount = mount;
  std::vector<uint64_t> all(10'000);
  const long count = ::syscall(kSysListmount, &request, all.data(), all.size(), 0);
  all.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return all;
}

}  // namespace insitu
