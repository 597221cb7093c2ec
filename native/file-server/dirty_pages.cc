#include "file-server/dirty_pages.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

namespace insitu {
namespace {

// cachestat(2); Debian 12 has no header for it. The number is the same on every architecture.
constexpr long kCachestat = 451;
struct CachestatRange {
  uint64_t offset;
  uint64_t length;  // 0: to the end
};
struct Cachestat {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

}  // namespace

bool has_dirty_pages(int fd) {
  CachestatRange range{0, 0};
  Cachestat pages{};
  if (syscall(kCachestat, fd, &range, &pages, 0U) != 0) return true;
  return pages.dirty != 0;
}

void write_dirty_pages(int fd) {
  sync_file_range(fd, 0, 0,
                  SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

bool has_writers(int fd) {
  // A writer that opens while we hold the lease makes the kernel signal us: by one that is ignored,
  // as SIGIO would end the process.
  fcntl(fd, F_SETSIG, SIGURG);
  if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return true;
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace insitu
