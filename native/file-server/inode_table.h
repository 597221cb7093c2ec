#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "../common/unique_fd.h"
#include "file_handle.h"
#include "file_stat.h"
#include "filesystem.h"
#include "inode_numbers.h"
#include "passthrough.h"

namespace insitu {

class Inode;
class InodeTable;
struct SessionState;

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

// One object of a backing tree that the kernel knows, whatever its names are.
class Inode {
 public:
  // `path` may be empty for one that a predecessor knew.
  Inode(InodeTable& table, uint64_t node, FilesystemPtr filesystem, ino_t ino, mode_t mode,
        UniqueFd path);
  ~Inode();
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  uint64_t node() const { return node_; }
  const Filesystem& filesystem() const { return *filesystem_; }
  Tree& tree() const { return *filesystem_->tree; }
  dev_t dev() const { return filesystem_->dev; }
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
  // Where it was looked up last, for filesystems without handles.
  struct Place {
    uint64_t parent;
    std::string name;
    int64_t birth_ns = 0;  // as it was when path_ was given up
  };

  InodeTable& table_;
  const uint64_t node_;
  const FilesystemPtr filesystem_;
  const ino_t ino_;
  const mode_t type_;

  // Guarded by the table's `descriptors_mutex_`.
  mutable Descriptor path_;
  mutable FileIdentity identity_;  // set once path_ was given up, or before
  mutable std::unique_ptr<Place> place_;
  mutable std::list<const Inode*>::iterator recent_;
  mutable bool pinned_ = false;
  // With the number it stands for this object and no other; 0: not known, or not to be relied on.
  mutable int64_t birth_ns_ = 0;

  std::atomic<uint64_t> lookups_ = 0;  // taken away from with the table's `mutex_` held exclusively
  std::atomic<uint32_t> writers_ = 0;
  std::atomic<uint32_t> read_writers_ = 0;
  std::atomic<uint64_t> last_writer_ = 0;
  std::atomic<uint64_t> last_read_writer_ = 0;
  std::atomic<uint64_t> last_appender_ = 0;
  IoState io_state_;
};

// Node ids are numbers, never reused. One identity (tree, dev, ino) has one inode while the kernel or
// somebody here knows it, so hard links share theirs.
//
// Of the inodes, only the `descriptor_bound` last used keep a descriptor; the others are opened
// again by file handle, or by parent and name with a check that it still is the same object (see
// Filesystem). Those of which neither is to be had keep theirs. Lock order: `mutex_`, then
// `descriptors_mutex_`, then a Filesystem's.
class InodeTable {
 public:
  // `root` is O_PATH, a directory.
  InodeTable(TreePtr volume, UniqueFd root, const struct stat& attributes,
             size_t descriptor_bound);

  InodePtr root() const { return root_; }
  InodePtr find(uint64_t node) const;
  // In the volume, or in the tree of `relative`.
  InodePtr find(dev_t dev, ino_t ino) const;
  InodePtr find(const Inode& relative, dev_t dev, ino_t ino) const;
  InodePtr find(uint32_t tree, dev_t dev, ino_t ino) const;
  // The inode of what `path` (O_PATH) refers to, counted as looked up once more. It was found as
  // `name` of `parent`; "" is without a name.
  InodePtr remember(UniqueFd path, const FileStat& attributes, const Inode& parent,
                    std::string_view name);
  // As above, for a graft's root.
  InodePtr remember(UniqueFd path, const FileStat& attributes, const FilesystemPtr& filesystem);
  // As `remember`, without a descriptor, for an object that is known already: which it is, certainly, by
  // its number and its time of birth. Null: it must be opened to tell.
  InodePtr recognize(const FileStat& attributes, const Inode& parent, std::string_view name);
  // It stands there now.
  void moved(const Inode& inode, const Inode& parent, std::string_view name);
  // The filesystem of a directory (O_PATH) of that tree.
  FilesystemPtr filesystem(const TreePtr& tree, int path, const struct stat& attributes);
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

  // Of a graft.
  std::vector<uint64_t> nodes_of(const Tree& tree) const;
  // Closes what a tree that is gone held open.
  void close_tree(const Tree& tree);
  InodeNumbers& numbers() { return numbers_; }

  // For a successor (session_state.h). `restore` comes before anything else is asked of the table.
  void dump(SessionState& state) const;
  void restore(const SessionState& state, const std::map<uint32_t, TreePtr>& trees);

 private:
  friend class Inode;
  static uint64_t next_stamp();
  struct Identity {
    const Filesystem* filesystem;
    ino_t ino;
    bool operator==(const Identity&) const = default;
  };
  struct IdentityHash {
    size_t operator()(const Identity& identity) const {
      return identity.ino * 0x9E3779B97F4A7C15u ^ reinterpret_cast<uintptr_t>(identity.filesystem);
    }
  };

  FilesystemPtr filesystem_of(const TreePtr& tree, int path, const struct stat& attributes);
  void add(const InodePtr& inode);
  // `handle` may be empty: it is asked for when it is needed.
  InodePtr remember_locked(UniqueFd path, FileIdentity handle, const FileStat& attributes,
                           const FilesystemPtr& filesystem, std::vector<Descriptor>& closing);
  static void learn_birth(const Inode& inode, const FileStat& attributes);
  Descriptor descriptor_of(const Inode& inode);
  Descriptor reached_by_path(const Inode& inode);
  void adopt(const Inode& inode, Descriptor path, std::vector<Descriptor>& closing);
  bool give_up(const Inode& inode);
  bool is_same(const Inode& inode, int path, const FileIdentity& handle);
  void set_place(const Inode& inode, uint64_t parent, std::string_view name);
  void drop(const Inode& inode);

  const size_t descriptor_bound_;
  InodeNumbers numbers_;
  std::atomic<bool> evicts_ = false;

  mutable std::mutex descriptors_mutex_;
  std::list<const Inode*> recent_;  // those with a descriptor that may be given up, last used first

  mutable std::shared_mutex mutex_;
  uint64_t next_node_ = 2;  // 1 is FUSE_ROOT_ID
  std::map<std::pair<uint32_t, dev_t>, FilesystemPtr> filesystems_;  // by tree and device
  std::unordered_map<uint64_t, InodePtr> by_node_;
  std::unordered_map<uint32_t, std::unordered_set<uint64_t>> grafted_;  // nodes by graft
  std::unordered_map<Identity, InodePtr, IdentityHash> by_identity_;
  InodePtr root_;
};

}  // namespace insitu
