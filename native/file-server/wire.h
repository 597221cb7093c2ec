#pragma once

// The /dev/fuse wire protocol: the system's header, and here what is newer than the oldest header
// we build with (protocol 7.38, Linux 6.2), up to protocol 7.45. Source: include/uapi/linux/fuse.h.

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace insitu::wire {

inline constexpr uint32_t kMajor = FUSE_KERNEL_VERSION;
// What we ask for; the kernel speaks the smaller of its and ours.
inline constexpr uint32_t kMinor = 45;
// Linux 5.4. Anything older lacks cached directories and symlinks with 1 MiB requests.
inline constexpr uint32_t kOldestMinor = 31;

// Opcodes.
inline constexpr uint32_t kStatx = 52;             // 7.39
inline constexpr uint32_t kCopyFileRange64 = 53;   // 7.45

// INIT flags, by bit of the 64-bit word; 32 and up travel in flags2.
inline constexpr uint64_t kCreateSuppGroup = uint64_t{1} << 34;     // 7.38
inline constexpr uint64_t kHasExpireOnly = uint64_t{1} << 35;       // 7.38
inline constexpr uint64_t kDirectIoAllowMmap = uint64_t{1} << 36;   // 7.39
inline constexpr uint64_t kPassthrough = uint64_t{1} << 37;         // 7.40
inline constexpr uint64_t kNoExportSupport = uint64_t{1} << 38;     // 7.40
inline constexpr uint64_t kHasResend = uint64_t{1} << 39;           // 7.40
inline constexpr uint64_t kAllowIdmap = uint64_t{1} << 40;          // 7.41

// With kAllowIdmap, the ids of whoever asks for what creates nothing.
inline constexpr uint32_t kNoId = UINT32_MAX;

inline constexpr uint32_t kOpenPassthrough = 1u << 7;  // FOPEN_PASSTHROUGH
inline constexpr uint32_t kExtGroups = 32;             // type of an extension: fuse_supp_groups
inline constexpr int kNotifyIncEpoch = 8;              // 7.44: every dentry is looked up again

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint16_t request_timeout;
  uint16_t unused[11];
};
static_assert(sizeof(InitOut) == 64);

struct OpenOut {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;  // with kOpenPassthrough
};
static_assert(sizeof(OpenOut) == 16);

struct SuppGroups {
  uint32_t count;
  uint32_t groups[];
};

struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
inline constexpr unsigned long kBackingOpen = _IOW(FUSE_DEV_IOC_MAGIC, 1, BackingMap);
inline constexpr unsigned long kBackingClose = _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t);

struct StatxIn {
  uint32_t getattr_flags;
  uint32_t reserved;
  uint64_t fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};

struct StatxTime {
  int64_t sec;
  uint32_t nsec;
  int32_t reserved;
};

struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  StatxTime atime;
  StatxTime btime;
  StatxTime ctime;
  StatxTime mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t spare2[14];
};
static_assert(sizeof(Statx) == 256);

struct StatxOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  Statx stat;
};

struct CopyFileRangeOut {
  uint64_t bytes_copied;
};

}  // namespace insitu::wire
