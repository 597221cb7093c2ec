#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace insitu {

// Tells the kernel to drop what it caches. INVAL_ENTRY takes the directory's lock in the kernel,
// which a request that is being served may hold: so all go out from this one thread, and queueing
// never waits.
class Notifier {
 public:
  explicit Notifier(int device);
  ~Notifier();

  // Drops the dentry `name` of `parent`, also a negative one.
  void invalidate_entry(uint64_t parent, std::string name);
  // As above, for a name that is gone; `child` is the node that it stood for.
  void deleted(uint64_t parent, uint64_t child, std::string name);
  // Drops attributes, and data from `offset` on (`length` 0: to the end); offset -1: attributes
  // only.
  void invalidate_inode(uint64_t node, int64_t offset = 0, int64_t length = 0);
  // As invalidate_inode, for nodes of any number; never given up for want of room.
  void sweep(std::vector<uint64_t> nodes);
  // Drops attributes before it returns, which takes no lock in the kernel: for those that a request
  // changes without the kernel's expecting it, before its reply.
  void drop_attributes(uint64_t node) const;
  // Every name is looked up again when it is used next; at once, since it takes no lock, on Linux 6.17
  // and later.
  void expire_names() const;
  void wake_poll(uint64_t kernel_handle);
  // At once, since it takes no lock that a request could hold: size and times of this node are to be
  // asked for, and attributes on their way to the kernel are dropped. ENOENT: it knows no such node.
  int forget_size(uint64_t node) const;
  // Called on the notifier's thread once everything queued before is through.
  void after(std::function<void()> callback);
  // Of everything that was queued so far.
  uint64_t queued() const;
  // Returns when all that is through, false after the time-out.
  bool wait_for(uint64_t queued, unsigned timeout_ms);
  // So many wait that nothing should be begun that adds to them.
  bool is_behind() const;
  // For how long the kernel has been at one notice. Longer than a moment only while somebody holds the
  // directory's lock that it takes.
  std::chrono::milliseconds stuck_for() const;
  bool drain(unsigned timeout_ms) { return wait_for(queued(), timeout_ms); }
  void stop();

 private:
  struct Notice {
    int code;
    uint64_t first;
    uint64_t second;
    int64_t third;
    std::string name;
    std::function<void()> callback;  // instead of telling the kernel
  };
  void push(Notice notice);
  void send(const Notice& notice) const;
  void loop();

  const int device_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable drained_;
  std::deque<Notice> queue_;
  uint64_t pushed_ = 0;
  uint64_t sent_ = 0;
  std::optional<std::chrono::steady_clock::time_point> sending_since_;
  bool overflowed_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace insitu
