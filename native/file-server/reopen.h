#pragma once

#include <fcntl.h>

#include <cstdio>

#include "inode_table.h"

namespace insitu {

// The magic link of a descriptor: opens the very object, not whatever its name is now.
class ProcPath {
 public:
  explicit ProcPath(int fd) { std::snprintf(text_, sizeof text_, "/proc/self/fd/%d", fd); }
  const char* c_str() const { return text_; }

 private:
  char text_[32];
};

// A new description of what an O_PATH descriptor stands for. Never for symlinks.
inline UniqueFd reopen(int path_fd, int flags) {
  return UniqueFd{::open(ProcPath(path_fd).c_str(), (flags & ~O_NOFOLLOW) | O_CLOEXEC)};
}

}  // namespace insitu
