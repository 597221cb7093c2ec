// What this system's headers do not have yet of statmount(2) and statx(2).
#pragma once

#include <linux/mount.h>
#include <linux/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace insitu {

constexpr unsigned kStatxMountIdUnique = 0x4000;  // Linux 6.8

// The beginning of struct statmount (Linux 6.8); the kernel fills as much as there is room for.
struct StatMount {
  uint32_t size, options;
  uint64_t mask;
  uint32_t device_major, device_minor;
  uint64_t magic;
  uint32_t superblock_flags, type;
  uint64_t id, parent;
  uint32_t old_id, old_parent;
  uint64_t attributes, propagation, peer_group, master;
  uint64_t rest[64];
};

// Whether mounts on it appear in other namespaces as well. `mount` is the unique id of one in this
// namespace. What cannot be told counts as shared.
inline bool is_shared(uint64_t mount) {
  constexpr long kSysStatmount = 457;
  constexpr uint64_t kBasic = 2;
  struct {
    uint32_t size = 24;
    uint32_t spare = 0;
    uint64_t mount, mask = kBasic;
  } request;
  request.mount = mount;
  StatMount out{};
  if (::syscall(kSysStatmount, &request, &out, sizeof out, 0) != 0) return true;
  constexpr uint64_t kShared = 1u << 20;  // MS_SHARED
  return (out.propagation & kShared) != 0;
}

}  // namespace insitu
