#include "inode_numbers.h"

namespace insitu {

uint16_t InodeNumbers::mark_of(uint32_t tree, dev_t dev, ino_t root) {
  const std::lock_guard lock(mutex_);
  uint16_t& mark = marks_[{tree, dev}];
  if (mark != 0) return mark;
  const uint64_t hash = (dev * 0x9E3779B97F4A7C15u ^ root) * 0xD6E8FEB86659FD93u;
  for (uint16_t i = 1; i < kReplaced; ++i) {
    const auto candidate = static_cast<uint16_t>(1 + ((hash >> 40) + i) % (kReplaced - 1));
    Prefix expected = Prefix::free;
    if (prefixes_[candidate].compare_exchange_strong(expected, Prefix::mark)) {
      mark = candidate;
      return mark;
    }
  }
  // More filesystems than marks: the rest share one, and their numbers may meet.
  marks_.erase({tree, dev});
  return kReplaced;
}

void InodeNumbers::restore_mark(uint32_t tree, dev_t dev, uint16_t mark) {
  if (mark == 0 || mark >= kReplaced) return;
  const std::lock_guard lock(mutex_);
  uint16_t& given = marks_[{tree, dev}];
  if (given == mark) return;
  if (given != 0) prefixes_[given] = Prefix::free;
  given = mark;
  prefixes_[mark] = Prefix::mark;
}

void InodeNumbers::forget_tree(uint32_t tree) {
  const std::lock_guard lock(mutex_);
  const auto first = marks_.lower_bound({tree, 0});
  auto last = first;
  for (; last != marks_.end() && last->first.first == tree; ++last) {
    prefixes_[last->second] = Prefix::free;
    replaced_.erase(replaced_.lower_bound({last->second, 0}),
                    replaced_.upper_bound({last->second, UINT64_MAX}));
  }
  marks_.erase(first, last);
}

uint64_t InodeNumbers::shown_large(uint16_t mark, uint64_t ino) {
  if (mark != 0) return replaced(mark, ino);
  const auto prefix = static_cast<size_t>(ino >> kMarkShift);
  if (prefix > kReplaced) return ino;
  if (prefix == kReplaced) return replaced(mark, ino);
  // First come: a mark that is given keeps its numbers, and one that is not is never given.
  Prefix expected = Prefix::free;
  if (prefixes_[prefix].compare_exchange_strong(expected, Prefix::volume) ||
      expected == Prefix::volume)
    return ino;
  return replaced(mark, ino);
}

uint64_t InodeNumbers::replaced(uint16_t mark, uint64_t ino) {
  constexpr uint64_t base = uint64_t{kReplaced} << kMarkShift;
  const std::lock_guard lock(mutex_);
  const auto found = replaced_.find({mark, ino});
  if (found != replaced_.end()) return found->second;
  if (replaced_.size() >= kMaxReplaced) {
    const uint64_t hash = (ino ^ uint64_t{mark} << kMarkShift) * 0x9E3779B97F4A7C15u;
    return base | uint64_t{1} << 47 | hash >> 17;
  }
  const uint64_t number = base | ++last_replaced_;
  replaced_.emplace(std::pair{mark, ino}, number);
  return number;
}

}  // namespace insitu
