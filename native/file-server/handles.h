#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "inode_table.h"
#include "open_counts.h"
#include "passthrough.h"

namespace insitu {

// An open regular file of the backing directory.
class FileHandle {
 public:
  // Takes over one count of `mode` in the inode's IoState.
  FileHandle(UniqueFd fd, InodePtr inode, int flags, Passthrough& passthrough, IoMode mode);
  ~FileHandle();
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;

  // -1 with errno when the file cannot be opened (any more).
  int descriptor();
  Inode& inode() const { return *inode_; }
  IoMode mode() const { return mode_; }
  int flags() const { return flags_; }

 private:
  const InodePtr inode_;
  const int flags_;
  Passthrough& passthrough_;
  const IoMode mode_;
  std::mutex opening_;
  std::atomic<int> opened_;
  UniqueFd fd_;
};

// An open directory. Offsets that the kernel sees are the backing filesystem's own cookies, so they
// stay good over seekdir and over entries that come and go.
struct DirectoryHandle {
  UniqueFd fd;
  InodePtr inode;

  std::mutex mutex;  // guards what follows
  std::vector<std::byte> buffer;
  size_t begin = 0;
  size_t end = 0;
  // The cookie of the entry at `begin`.
  int64_t position = 0;

  DirectoryHandle(UniqueFd descriptor, InodePtr opened)
      : fd(std::move(descriptor)), inode(std::move(opened)) {}
};

// Numbers that the kernel gives back with each operation on an open file; never reused.
template <class Handle>
class HandleTable {
 public:
  ~HandleTable() { clear(); }

  // `uid`: who opened it, see OpenCounts.
  uint64_t add(std::shared_ptr<Handle> handle, uint32_t uid) {
    const uint64_t number = ++last_;
    OpenCounts::of_process().add(uid);
    auto& shard = shard_of(number);
    const std::lock_guard lock(shard.mutex);
    shard.handles.emplace(number, Entry{std::move(handle), uid});
    return number;
  }
  std::shared_ptr<Handle> find(uint64_t number) {
    auto& shard = shard_of(number);
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.handles.find(number);
    return found == shard.handles.end() ? nullptr : found->second.handle;
  }
  std::shared_ptr<Handle> remove(uint64_t number) {
    auto& shard = shard_of(number);
    const std::lock_guard lock(shard.mutex);
    auto node = shard.handles.extract(number);
    if (node.empty()) return nullptr;
    OpenCounts::of_process().remove(node.mapped().uid);
    return std::move(node.mapped().handle);
  }
  void clear() {
    for (auto& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (const auto& [number, entry] : shard.handles) OpenCounts::of_process().remove(entry.uid);
      shard.handles.clear();
    }
  }
  size_t size() {
    size_t total = 0;
    for (auto& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      total += shard.handles.size();
    }
    return total;
  }

 private:
  struct Entry {
    std::shared_ptr<Handle> handle;
    uint32_t uid;
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<uint64_t, Entry> handles;
  };
  Shard& shard_of(uint64_t number) { return shards_[number % shards_.size()]; }

  std::atomic<uint64_t> last_ = 0;
  std::array<Shard, 16> shards_;
};

}  // namespace insitu
