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

  // `of_mount`: what the mount that is asked has open. A tenant has many users; so no mount may hold
  // more than what is left for all the others. Root could do worse by other means.
  bool full(uint32_t uid, size_t of_mount) const {
    if (uid == 0) return false;
    const std::lock_guard lock(mutex_);
    if (total_ + of_mount >= descriptors_) return true;
    const auto found = counts_.find(uid);
    return found != counts_.end() && found->second >= most_;
  }
  void add(uint32_t uid) {
    const std::lock_guard lock(mutex_);
    ++counts_[uid];
    ++total_;
  }
  void remove(uint32_t uid) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(uid);
    if (found == counts_.end()) return;
    --total_;
    if (--found->second == 0) counts_.erase(found);
  }

 private:
  static size_t limit() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1'024;
  }

  const size_t descriptors_ = limit();
  // Half of them; a quarter is the inodes', the rest is for others and for the daemon.
  const size_t most_ = descriptors_ / 2;
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, size_t> counts_;
  size_t total_ = 0;
};

}  // namespace insitu
