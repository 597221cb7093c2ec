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
  // Without opening it: -1 as long as nothing needed it.
  int opened_descriptor() const { return opened_; }
  Inode& inode() const { return *inode_; }
  int flags() const { return flags_; }
  IoMode mode() const { return mode_; }

 private:
  const InodePtr inode_;
  const int flags_;
  Passthrough& passthrough_;
  const IoMode mode_;
  std::mutex opening_;
  std::atomic<int> opened_;
  UniqueFd fd_;
  Quota::Hold hold_;  // before fd_ goes
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
  // When the listing under way began, and whether all of it was told with attributes so far.
  uint64_t began_ns = 0;
  bool all_told = false;

  DirectoryHandle(UniqueFd descriptor, InodePtr opened)
      : fd(std::move(descriptor)), inode(std::move(opened)) {
    ++inode->tree().open;
  }
  ~DirectoryHandle() { --inode->tree().open; }
  DirectoryHandle(const DirectoryHandle&) = delete;
  DirectoryHandle& operator=(const DirectoryHandle&) = delete;
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
    ++size_;
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
    --size_;
    return std::move(node.mapped().handle);
  }
  template <class Predicate>
  void remove_if(Predicate chosen) {
    std::vector<std::shared_ptr<Handle>> removed;  // they close after the locks are free
    for (auto& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (auto entry = shard.handles.begin(); entry != shard.handles.end();) {
        if (!chosen(*entry->second.handle)) {
          ++entry;
          continue;
        }
        OpenCounts::of_process().remove(entry->second.uid);
        --size_;
        removed.push_back(std::move(entry->second.handle));
        entry = shard.handles.erase(entry);
      }
    }
  }
  // `visit(number, handle, uid)`.
  template <class Visit>
  void for_each(Visit visit) {
    for (auto& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (const auto& [number, entry] : shard.handles) visit(number, *entry.handle, entry.uid);
    }
  }
  // Under the number that a predecessor gave it; later ones get others.
  void restore(uint64_t number, std::shared_ptr<Handle> handle, uint32_t uid) {
    if (last_ < number) last_ = number;
    OpenCounts::of_process().add(uid);
    auto& shard = shard_of(number);
    const std::lock_guard lock(shard.mutex);
    shard.handles.emplace(number, Entry{std::move(handle), uid});
    ++size_;
  }
  uint64_t last() const { return last_; }
  void restore_last(uint64_t last) { last_ = last; }
  void clear() {
    for (auto& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (const auto& [number, entry] : shard.handles) OpenCounts::of_process().remove(entry.uid);
      size_ -= shard.handles.size();
      shard.handles.clear();
    }
  }
  size_t size() const { return size_; }

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
  std::atomic<size_t> size_ = 0;
  std::array<Shard, 16> shards_;
};

}  // namespace insitu
