#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace insitu {

// How long operations took, counted in buckets: below 4 µs one for each microsecond, then four to an
// octave (see src/broker/latencies.ts). Counting takes no lock; who looks while others count may miss
// the last of them.
class Latencies {
 public:
  static constexpr size_t kBuckets = 104;  // the last one holds everything from 2 min on

  void add(std::chrono::steady_clock::duration took) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    counts_[bucket(us < 0 ? 0 : static_cast<uint64_t>(us))].fetch_add(1, std::memory_order_relaxed);
  }
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }

  static size_t bucket(uint64_t us) {
    if (us < 4) return us;
    const auto octave = static_cast<size_t>(std::bit_width(us)) - 1;  // at least 2
    const size_t index = 4 * (octave - 1) + ((us >> (octave - 2)) & 3);
    return index < kBuckets ? index : kBuckets - 1;
  }

 private:
  std::array<std::atomic<uint64_t>, kBuckets> counts_{};
};

}  // namespace insitu
