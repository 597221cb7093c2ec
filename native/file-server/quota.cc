#include "quota.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <vector>
#include <utility>

#include "open_beneath.h"
#include "reopen.h"

namespace insitu {

namespace {

// What one block at either end of a range may add.
constexpr uint64_t kBlockBytes = 4'096;

uint64_t occupied(const struct stat& attributes) {
  return static_cast<uint64_t>(attributes.st_blocks) * 512;
}

// As missing_bytes, where there are no maps of extents (tmpfs).
uint64_t missing_by_seeking(int file, uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  struct stat attributes;
  // Preallocated blocks look like holes; but where as much as the whole is there, nothing is missing.
  if (::fstat(file, &attributes) == 0 && occupied(attributes) >= end) return 0;
  uint64_t missing = 0;
  while (offset < end) {
    const off_t data = ::lseek(file, static_cast<off_t>(offset), SEEK_DATA);
    const uint64_t start = data < 0 ? end : std::min(static_cast<uint64_t>(data), end);
    missing += start - offset;
    const off_t hole = start < end ? ::lseek(file, static_cast<off_t>(start), SEEK_HOLE) : -1;
    if (hole < 0) return missing + (end - start);
    offset = static_cast<uint64_t>(hole);
  }
  return missing;
}

// Bytes of the range that have no block yet. Preallocated ones have: SEEK_DATA would not tell.
uint64_t missing_bytes(int fd, uint64_t offset, uint64_t length) {
  constexpr uint32_t extents = 32;
  alignas(fiemap) std::byte space[sizeof(fiemap) + extents * sizeof(fiemap_extent)]{};
  auto* const map = reinterpret_cast<fiemap*>(space);
  const UniqueFd file = reopen(fd, O_RDONLY | O_NONBLOCK);
  uint64_t missing = length;
  const uint64_t end = offset + length;
  while (file && offset < end) {
    std::memset(space, 0, sizeof(fiemap));
    map->fm_start = offset;
    map->fm_length = end - offset;
    map->fm_extent_count = extents;
    if (::ioctl(file.get(), FS_IOC_FIEMAP, map) < 0)
      return missing_by_seeking(file.get(), offset, end - offset);
    if (map->fm_mapped_extents == 0) break;
    for (uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      const uint64_t start = std::max<uint64_t>(extent.fe_logical, offset);
      const uint64_t stop = std::min<uint64_t>(extent.fe_logical + extent.fe_length, end);
      if (stop <= start) continue;
      missing -= stop - start;
      offset = stop;
      if (extent.fe_flags & FIEMAP_EXTENT_LAST) return missing;
    }
    if (map->fm_mapped_extents < extents) break;
  }
  return missing;
}

}  // namespace

uint64_t Quota::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

uint64_t Quota::left() const {
  const std::lock_guard lock(mutex_);
  return limit_ - std::min(limit_, used_ + reserved_);
}

void Quota::added(int fd) {
  struct stat attributes;
  if (::fstat(fd, &attributes) < 0) return;
  const std::lock_guard lock(mutex_);
  used_ += occupied(attributes);
}

bool Quota::reserve(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > limit_ - std::min(limit_, used_ + reserved_)) return false;
  reserved_ += bytes;
  return true;
}

// Called with mutex_ held, so that of two looks at one file the later one counts.
void Quota::settle(const std::pair<dev_t, ino_t>& key, int fd) {
  struct stat attributes;
  if (::fstat(fd, &attributes) < 0) return;
  Held& held = held_[key];
  used_ += occupied(attributes);
  used_ -= std::min(used_, held.counted);
  held.counted = occupied(attributes);
}

Quota::Hold::Hold(Quota* quota, int fd) : quota_(quota), fd_(fd) {
  struct stat attributes;
  if (!quota_) return;
  const std::lock_guard lock(quota_->mutex_);
  if (::fstat(fd_, &attributes) < 0) {
    quota_ = nullptr;
    return;
  }
  key_ = {attributes.st_dev, attributes.st_ino};
  Held& held = quota_->held_[key_];
  if (held.holds++ == 0) held.counted = occupied(attributes);
}

void Quota::Hold::end() {
  if (!quota_) return;
  Quota& quota = *std::exchange(quota_, nullptr);
  const std::lock_guard lock(quota.mutex_);
  quota.settle(key_, fd_);
  quota.reserved_ -= reserved_;
  Held& held = quota.held_[key_];
  if (--held.holds > 0) return;
  struct stat attributes;
  if (::fstat(fd_, &attributes) == 0 && attributes.st_nlink == 0)
    quota.used_ -= std::min(quota.used_, held.counted);
  quota.held_.erase(key_);
}

Quota::Growth::Growth(Quota* quota, int fd, uint64_t offset, uint64_t length) : Hold(quota, fd) {
  if (!quota_ || length == 0) return;
  // Most operations are far from the limit.
  reserved_ = (length + kBlockBytes - 1) / kBlockBytes * kBlockBytes + kBlockBytes;
  if (quota_->reserve(reserved_)) return;
  reserved_ = missing_bytes(fd_, offset, length);
  if (reserved_ == 0 || quota_->reserve(reserved_)) return;
  reserved_ = 0;
  error_ = EDQUOT;
}

uint64_t occupied_bytes(int directory) {
  uint64_t total = 0;
  std::set<std::pair<dev_t, ino_t>> linked;
  std::vector<std::string> below{""};
  while (!below.empty()) {
    const std::string path = std::move(below.back());
    below.pop_back();
    UniqueFd fd;
    constexpr uint64_t no_symlinks = 0x04;  // RESOLVE_NO_SYMLINKS
    // What went in the meantime, or lies deeper than a path can say, does not count.
    if (open_beneath(directory, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, no_symlinks, fd) != 0)
      continue;
    struct stat attributes;
    if (::fstat(fd.get(), &attributes) == 0) total += occupied(attributes);
    DIR* const entries = ::fdopendir(fd.get());
    if (!entries) continue;
    fd.release();
    while (const dirent* entry = ::readdir(entries)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (::fstatat(::dirfd(entries), name.c_str(), &attributes, AT_SYMLINK_NOFOLLOW) < 0) continue;
      if (S_ISDIR(attributes.st_mode))
        below.push_back(path.empty() ? name : path + "/" + name);
      else if (attributes.st_nlink == 1 ||
               linked.emplace(attributes.st_dev, attributes.st_ino).second)
        total += occupied(attributes);
    }
    ::closedir(entries);
  }
  return total;
}

}  // namespace insitu
