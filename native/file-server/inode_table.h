#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "../common/unique_fd.h"
#include "file_handle.h"
#include "passthrough.h"

namespace insitu {

class Inode;
class InodeTable;

// Keeps a descriptor open while it is used; empty (errno says why) when it could not be had.
using Descriptor = std::shared_ptr<const UniqueFd>;
using InodePtr = std::shared_ptr<Inode>;

// What was and is open for writing through this mount, for those who ask whether a file may have
// changed. Stamps come from one clock of the process that only grows, and 0 is never; so two
// different histories never look the same, also when the kernel forgot the inode in between.
struct WriteActivity {
  uint32_t writers = 0;           // open now, for writing without O_APPEND
  uint32_t read_writers = 0;      // open now, for reading and writing: may be mapped and stored to
  uint64_t last_writer = 0;       // stamp of the last open counted in `writers`, or truncation
  uint64_t last_read_writer = 0;  // stamp of the last open counted in `read_writers`
  uint64_t last_appender = 0;     // stamp of the last open for writing with O_APPEND
};

// One object of the backing directory that the kernel knows, whatever its names are.
class Inode {
 public:
  Inode(InodeTable& table, uint64_t node, const struct stat& attributes, UniqueFd path);
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  uint64_t node() const { return node_; }
  dev_t dev() const { return dev_; }
  ino_t ino() const { return ino_; }
  // S_IFMT bits: they never change.
  mode_t type() const { return type_; }
  bool is_directory() const { return S_ISDIR(type_); }
  bool is_symlink() const { return S_ISLNK(type_); }

  // O_PATH, so good for *at calls and for opening anew through /proc/self/fd.
  Descriptor descriptor() const;

  WriteActivity write_activity() const;
  void opened(int flags);
  void released(int flags);
  void rewritten();
  IoState& io_state() { return io_state_; }

 private:
  friend class InodeTable;
  InodeTable& table_;
  const uint64_t node_;
  const dev_t dev_;
  const ino_t ino_;
  const mode_t type_;

  // Guarded by the table's `descriptors_mutex_`.
  mutable Descriptor path_;
  mutable FileIdentity identity_;  // set once path_ was given up
  mutable std::list<const Inode*>::iterator place_;
  mutable bool pinned_ = false;

  uint64_t lookups_ = 0;  // guarded by the table's `mutex_`
  std::atomic<uint32_t> writers_ = 0;
  std::atomic<uint32_t> read_writers_ = 0;
  std::atomic<uint64_t> last_writer_ = 0;
  std::atomic<uint64_t> last_read_writer_ = 0;
  std::atomic<uint64_t> last_appender_ = 0;
  IoState io_state_;
};

// Node ids are numbers, never reused. One identity (dev, ino) has one inode while the kernel or
// somebody here knows it, so hard links share theirs.
//
// Of the inodes, only the `descriptor_bound` last used keep a descriptor; the others are opened
// again by file handle. Where the backing has no file handles, or we may not open by them, all keep
// theirs. Lock order: `mutex_`, then `descriptors_mutex_`.
class InodeTable {
 public:
  // `root` is O_PATH, a directory.
  InodeTable(UniqueFd root, const struct stat& attributes, size_t descriptor_bound);

  InodePtr root() const { return root_; }
  InodePtr find(uint64_t node) const;
  InodePtr find(dev_t dev, ino_t ino) const;
  // The inode of what `path` (O_PATH) refers to, counted as looked up once more.
  InodePtr remember(UniqueFd path, const struct stat& attributes);
  void forget(uint64_t node, uint64_t lookups);
  // The next look-up of the same object gets another node: the kernel takes this one for something
  // else.
  void retire(const InodePtr& inode);
  size_t size() const;
  size_t descriptors() const;

  // Whether any inode was ever without a descriptor.
  bool evicts() const { return evicts_; }
  // Keeps the descriptor open from now on: the last name may go, and then nothing opens it again.
  void pin(const Inode& inode);

 private:
  friend class Inode;
  struct Identity {
    dev_t dev;
    ino_t ino;
    bool operator==(const Identity&) const = default;
  };
  struct IdentityHash {
    size_t operator()(const Identity& identity) const {
      return identity.ino * 0x9E3779B97F4A7C15u ^ identity.dev;
    }
  };

  Descriptor descriptor_of(const Inode& inode);
  void adopt(const Inode& inode, Descriptor path, std::vector<Descriptor>& closing);
  bool is_same(const Inode& inode, int path);
  void drop(const Inode& inode);

  const size_t descriptor_bound_;
  UniqueFd handle_root_;  // any descriptor of the filesystem, to open by handle; -1: not possible
  int root_mount_ = -1;
  std::atomic<bool> evicts_ = false;

  mutable std::mutex descriptors_mutex_;
  std::list<const Inode*> recent_;  // those with a descriptor that may be given up, last used first

  mutable std::shared_mutex mutex_;
  uint64_t next_node_ = 2;  // 1 is FUSE_ROOT_ID
  std::unordered_map<uint64_t, InodePtr> by_node_;
  std::unordered_map<Identity, InodePtr, IdentityHash> by_identity_;
  InodePtr root_;
};

}  // namespace insitu
