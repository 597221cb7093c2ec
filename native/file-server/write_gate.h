#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace insitu {

// Holds the operations that change a tree while somebody copies it, never longer than was said at the
// shutting. Costs two atomic additions where it is open.
class WriteGate {
 public:
  using Clock = std::chrono::steady_clock;

  // Before an operation that changes something; `leave` follows it.
  void enter() {
    for (;;) {
      // Counted before it is looked at: who shuts sets the flag, and then waits for the count.
      ++inside_;
      if (!shut_) return;
      --inside_;
      std::unique_lock lock(mutex_);
      const auto until = until_;
      if (!opened_.wait_until(lock, until, [this] { return !shut_; }) && Clock::now() >= until_)
        shut_ = false;  // whoever shut it has forgotten it
    }
  }
  void leave() { --inside_; }

  // Returns once nothing that changes is under way; false: not in time, and it is open.
  bool shut(std::chrono::milliseconds longest) {
    const auto until = Clock::now() + longest;
    {
      const std::lock_guard lock(mutex_);
      until_ = until;
      shut_ = true;
    }
    while (inside_ > 0) {
      if (Clock::now() >= until) {
        open();
        return false;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return true;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    shut_ = false;
    opened_.notify_all();
  }

 private:
  std::atomic<uint32_t> inside_ = 0;
  std::atomic<bool> shut_ = false;
  std::mutex mutex_;  // guards what follows; nothing else is locked under it
  std::condition_variable opened_;
  Clock::time_point until_;
};

}  // namespace insitu
