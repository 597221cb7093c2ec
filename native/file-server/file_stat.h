#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace insitu {

// What stat(2) tells, and when the object came to be; 0: unknown, as of many filesystems.
struct FileStat : stat {
  int64_t birth_ns = 0;
};

// As fstatat(2) with `flags`, without following. 0 or an errno.
int stat_at(int directory, const char* name, int flags, FileStat& out);

}  // namespace insitu
