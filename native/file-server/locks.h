#pragma once

#include <fcntl.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "inode_table.h"
#include "request.h"

namespace insitu {

// Locks of a mount that shares its backing directory with other lockers: each owner of locks on an
// inode has an open description of the backing file for its own, and the backing filesystem decides.
// POSIX locks become locks of open file descriptions there.
class Locks {
 public:
  struct Owner {
    InodePtr inode;
    uint64_t id;      // the kernel's name of a process's files, or of an open file
    uint64_t handle;  // the open file that it locks through
    uint32_t uid;
    bool writes;  // that file is open for writing
  };
  struct Range {
    short type;  // F_RDLCK, F_WRLCK, F_UNLCK
    int64_t start;
    int64_t length;  // 0: to the end
    uint32_t pid;
  };

  Locks() = default;
  ~Locks();
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  // What keeps `range` from being locked; F_UNLCK when nothing does. 0 or an errno.
  int test(const Owner& owner, Range& range);
  // Tries once. 0 or an errno (EAGAIN: somebody else has it).
  int lock(const Owner& owner, const Range& range);
  // LOCK_SH, LOCK_EX or LOCK_UN, tried once.
  int flock(const Owner& owner, int operation);
  // Wait on threads of their own, and answer the request; with EINTR as soon as it is interrupted,
  // since the kernel starts again what the caller's signal handlers want restarted.
  void lock_and_wait(const Owner& owner, const Range& range, Request& request);
  void flock_and_wait(const Owner& owner, int operation, Request& request);

  // A process closed the file: its POSIX locks go.
  void closed(const Inode& inode, uint64_t owner);
  // The last close of an open file: what it locked goes.
  void released(uint64_t handle);

  // From now on a wait that is interrupted ends with ENOTCONN: nobody's signal is behind it, and the
  // kernel would start it again.
  void end() { ending_ = true; }
  // Returns when nobody waits any more; all must have been interrupted.
  void wait_for_none();

 private:
  struct Description;
  struct Wait;
  using DescriptionPtr = std::shared_ptr<Description>;
  struct Key {
    uint64_t node;
    uint64_t owner;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return key.node * 0x9E3779B97F4A7C15u ^ key.owner;
    }
  };

  DescriptionPtr find(const Owner& owner);
  // `to_write`: also for a lock for writing through it.
  DescriptionPtr find_or_open(const Owner& owner, bool to_write, int& error);
  uint32_t holder(const Owner& asker, const Range& range) const;
  void locked(Description& description, const Range& range);
  void start(std::shared_ptr<Wait> wait, Request& request);
  bool may_wait(uint32_t uid);
  void wait_for(Wait& wait);
  void finished(uint32_t uid);
  static void interrupt(Wait& wait);

  mutable std::mutex mutex_;
  std::condition_variable none_waits_;
  std::unordered_map<Key, DescriptionPtr, KeyHash> descriptions_;
  std::atomic<bool> ending_ = false;
  size_t waits_ = 0;
  std::unordered_map<uint32_t, size_t> waits_of_;  // by user
};

}  // namespace insitu
