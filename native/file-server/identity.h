#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace insitu {

// What statx(2) says of one file; times in ns since the epoch, birth 0 where the backing has none.
struct Attributes {
  uint64_t dev = 0;
  uint64_t ino = 0;
  int64_t birth_ns = 0;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
};

// Without following. 0, or a positive errno. `path` may be "" with AT_EMPTY_PATH in `flags`.
int read_attributes(int directory, const char* path, int flags, Attributes& out);

inline int read_attributes(int fd, Attributes& out) {
  return read_attributes(fd, "", AT_EMPTY_PATH, out);
}

// Whether a POSIX ACL says more than the mode bits of what `fd` (O_PATH will do) stands for.
bool has_acl(int fd);

enum class InputKind : uint8_t { File, Attributes, Directory, Missing };

// The state of one input when it was looked at.
struct Identity {
  std::string path;  // relative to the program's directory, "" for that directory
  InputKind kind = InputKind::Missing;
  uint64_t dev = 0;
  uint64_t ino = 0;
  int64_t birth_ns = 0;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;

  // The rest is not persisted, but for that an uncertain identity is one that matches nothing.

  // A change after it was taken may have left the times as they are: it holds at no later look.
  bool uncertain = false;
  // The mount's count of opens that may write anywhere but at the end, when this was taken.
  uint64_t overwriters = 0;
  // Of a directory: which of its names were left out, because grafts stand there; 0 for none.
  uint64_t points = 0;
};

Identity make_identity(std::string path, InputKind kind, const Attributes& attributes);

bool same_inode(const Identity& identity, const Attributes& now);
// Same inode, size, and times.
bool same_state(const Identity& identity, const Attributes& now);

// How far apart two changes must be, so that the times of a file differ: 0 where the file system
// gives each change after a stat a time of its own (Linux 6.13 and the usual file systems).
int64_t time_granularity_ns(int fd);

int64_t wall_clock_ns();

}  // namespace insitu
