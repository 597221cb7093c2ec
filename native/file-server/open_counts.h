#pragma once

#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace insitu {

// How much each user has open, over all mounts of this process: most open files cost us a
// descriptor, and who holds all that there are keeps everybody else from opening anything.
class OpenCounts {
 public:
  static OpenCounts& of_process() {
    static OpenCounts counts;
    return counts;
  }

  // Root could do worse by other means.
  bool full(uint32_t uid) const {
    if (uid == 0) return false;
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(uid);
    return found != counts_.end() && found->second >= most_;
  }
  void add(uint32_t uid) {
    const std::lock_guard lock(mutex_);
    ++counts_[uid];
  }
  void remove(uint32_t uid) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(uid);
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }

 private:
  // Half of our descriptors; a quarter is the inodes', the rest is for others and for the daemon.
  static size_t bound() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 2 : 512;
  }

  const size_t most_ = bound();
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, size_t> counts_;
};

}  // namespace insitu
