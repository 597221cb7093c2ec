#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace insitu {

// How much one tree may hold, in bytes that its files and directories occupy (st_blocks). What was
// there when it was grafted is counted once, by a walk; from then on each operation counts what it
// changed. Inodes and what a directory grows by are not counted, and neither is what others change
// behind the mount.
class Quota {
 public:
  Quota(uint64_t limit_bytes, uint64_t used_bytes) : limit_(limit_bytes), used_(used_bytes) {}

  uint64_t limit() const { return limit_; }
  uint64_t used() const;
  uint64_t left() const;
  // Something new stands there now; `fd` may be O_PATH.
  void added(int fd);

  // While it lives, changes to what `fd` (O_PATH will do) refers to are counted; its end counts
  // them, and gives back everything if the last name and the last Hold are gone. `fd` must stay
  // open. Does nothing without a quota.
  class Hold {
   public:
    Hold(Quota* quota, int fd);
    ~Hold() { end(); }
    // Before the reply: whoever gets that finds what was done counted. Idempotent.
    void end();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   protected:
    Quota* quota_;
    const int fd_;
    std::pair<dev_t, ino_t> key_;
    uint64_t reserved_ = 0;
  };

  // A Hold for one operation that may occupy more: `length` bytes from `offset` on.
  class Growth : public Hold {
   public:
    Growth(Quota* quota, int fd, uint64_t offset, uint64_t length);
    // 0 or EDQUOT: then the operation must not be done.
    int error() const { return error_; }

   private:
    int error_ = 0;
  };

 private:
  struct Held {
    uint64_t counted = 0;  // bytes of it that are in used_
    uint32_t holds = 0;
  };

  bool reserve(uint64_t bytes);
  void settle(const std::pair<dev_t, ino_t>& key, int fd);

  const uint64_t limit_;
  mutable std::mutex mutex_;  // guards what follows; nothing else is locked under it
  uint64_t used_;
  uint64_t reserved_ = 0;  // by operations under way
  std::map<std::pair<dev_t, ino_t>, Held> held_;
};

// What a directory (O_PATH) and everything below it on its mount occupies; a file with several
// names counts once.
uint64_t occupied_bytes(int directory);

}  // namespace insitu
