#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace insitu {

// By f_type of statfs(2). What they could not write they tell at fsync(2), not at close(2); and what is
// in the kernel's caches they answer without waiting for anything.
inline bool is_local_filesystem(uint64_t type) {
  constexpr std::array<uint64_t, 7> kLocal{
      0xEF53 /* ext4 */,     0x58465342 /* xfs */, 0x9123683E /* btrfs */,    0x01021994 /* tmpfs */,
      0xF2F52010 /* f2fs */, 0x2FC12FC1 /* zfs */, 0x794C7630 /* overlayfs */};
  return std::ranges::find(kLocal, type) != kLocal.end();
}

}  // namespace insitu
