#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>

#include "../common/unique_fd.h"

namespace insitu {

// Keeps a descriptor open while it is used; empty (errno says why) when it could not be had.
using Descriptor = std::shared_ptr<const UniqueFd>;

// What was and is open for writing through this mount, for those who ask whether a file may have
// changed. Stamps come from one clock of the process that only grows; 0 is never, and they are not
// lost in a way that two different histories look the same when the kernel forgets the inode.
struct WriteActivity {
  uint32_t writers = 0;            // open now, for writing without O_APPEND
  uint32_t read_writers = 0;       // open now, for reading and writing: may be mapped and stored to
  uint64_t last_writer = 0;        // stamp of the last open counted in `writers`
  uint64_t last_read_writer = 0;   // stamp of the last open counted in `read_writers`
};

// One object of the backing directory that the kernel knows, whatever its names are.
class Inode {
 public:
  Inode(uint64_t node, const struct stat& attributes, UniqueFd path);
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
  Descriptor descriptor() const { return path_; }

  WriteActivity write_activity() const;
  void opened(int flags);
  void released(int flags);

 private:
  friend class InodeTable;
  const uint64_t node_;
  const dev_t dev_;
  const ino_t ino_;
  const mode_t type_;
  Descriptor path_;
  uint64_t lookups_ = 0;  // guarded by the table's lock
  std::atomic<uint32_t> writers_ = 0;
  std::atomic<uint32_t> read_writers_ = 0;
  std::atomic<uint64_t> last_writer_ = 0;
  std::atomic<uint64_t> last_read_writer_ = 0;
};

using InodePtr = std::shared_ptr<Inode>;

// Node ids are numbers, never reused. One identity (dev, ino) has one inode while the kernel or
// somebody here knows it, so hard links share theirs.
class InodeTable {
 public:
  // `root` is O_PATH, a directory.
  InodeTable(UniqueFd root, const struct stat& attributes);

  InodePtr root() const { return root_; }
  InodePtr find(uint64_t node) const;
  InodePtr find(dev_t dev, ino_t ino) const;
  // The inode of what `path` (O_PATH) refers to, counted as looked up once more.
  InodePtr remember(UniqueFd path, const struct stat& attributes);
  void forget(uint64_t node, uint64_t lookups);
  size_t size() const;

 private:
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

  mutable std::shared_mutex mutex_;
  InodePtr root_;
  uint64_t next_node_ = 2;  // 1 is FUSE_ROOT_ID
  std::unordered_map<uint64_t, InodePtr> by_node_;
  std::unordered_map<Identity, InodePtr, IdentityHash> by_identity_;
};

}  // namespace insitu
