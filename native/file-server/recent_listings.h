#pragma once

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

namespace insitu {

// Which directories the kernel was told with all attributes a moment ago. It still knows them, and
// telling it again costs an open, a stat and a close an entry. A wrong guess costs a lookup, so
// neither slots that several directories share nor races need care.
class RecentListings {
 public:
  static uint64_t now_ns() {
    timespec now;
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }

  void told(uint64_t node, uint64_t began_ns) {
    Slot& slot = slots_[node % kSlots];
    slot.began_ns.store(began_ns, std::memory_order_relaxed);
    slot.node.store(node, std::memory_order_relaxed);
  }

  // Half of the time that entries are valid, so that they still are when they are used.
  bool is_recent(uint64_t node, uint64_t valid_ns) const {
    const Slot& slot = slots_[node % kSlots];
    if (slot.node.load(std::memory_order_relaxed) != node) return false;
    // The kernel may drop what is not used, whatever its time.
    const uint64_t within_ns = std::min<uint64_t>(valid_ns / 2, 500'000'000);
    return now_ns() - slot.began_ns.load(std::memory_order_relaxed) < within_ns;
  }

 private:
  static constexpr size_t kSlots = 256;
  struct Slot {
    std::atomic<uint64_t> node = 0;
    std::atomic<uint64_t> began_ns = 0;
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace insitu
