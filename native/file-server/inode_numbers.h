#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace insitu {

// The inode numbers that the mount shows. All its filesystems share one st_dev, so their numbers
// must differ. The volume's own stay as they are. Those of every other filesystem (a graft's, one
// mounted below) get a mark of their own in the upper 16 bits, which ext4, tmpfs and any xfs below
// 128 TB leave empty. The mark comes from the device and the tree's root, so that it usually is the
// same after a restart. A number that has upper bits itself, or that would meet one given already,
// is replaced by one of a range kept for that.
class InodeNumbers {
 public:
  // 0 for the volume's own filesystem, which calls nothing else here. `root` is the inode of the
  // tree's root, 0 for the volume.
  uint16_t mark_of(uint32_t tree, dev_t dev, ino_t root);
  void restore_mark(uint32_t tree, dev_t dev, uint16_t mark);
  void forget_tree(uint32_t tree);

  uint64_t shown(uint16_t mark, uint64_t ino) {
    if (ino >> kMarkShift == 0 && mark != kReplaced) [[likely]]
      return uint64_t{mark} << kMarkShift | ino;
    return shown_large(mark, ino);
  }

 private:
  static constexpr unsigned kMarkShift = 48;
  // Below the sign bit, as some programs keep numbers in signed integers.
  static constexpr uint16_t kReplaced = 0x7FFF;
  // Replaced numbers that are remembered; those beyond are a hash, and may meet.
  static constexpr size_t kMaxReplaced = 1 << 20;

  enum class Prefix : uint8_t { free, volume, mark };

  uint64_t shown_large(uint16_t mark, uint64_t ino);
  uint64_t replaced(uint16_t mark, uint64_t ino);

  std::array<std::atomic<Prefix>, kReplaced> prefixes_{};
  std::mutex mutex_;  // guards what follows
  std::map<std::pair<uint32_t, dev_t>, uint16_t> marks_;
  std::map<std::pair<uint16_t, uint64_t>, uint64_t> replaced_;
  uint64_t last_replaced_ = 0;
};

}  // namespace insitu
