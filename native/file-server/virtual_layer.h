#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "request.h"

namespace insitu {

class Inode;
struct Tree;

// Node ids from here on are virtual; the inode table never hands them out.
inline constexpr uint64_t kFirstVirtualNode = uint64_t{1} << 62;
constexpr bool is_virtual(uint64_t node) { return node >= kFirstVirtualNode; }

// A reserved name that stands in a directory now; `type` as in a dirent (DT_REG, DT_DIR).
struct ReservedEntry {
  std::string name;
  uint8_t type;
};

// What is not on disk. The ordinary operations branch to it once each, in the dispatcher: by node
// id (`handle`), or, in an ordinary directory, by a reserved name. A call that returns false leaves
// the request to the ordinary operation. Calls come from every thread of the session and must not
// block.
class VirtualLayer {
 public:
  virtual ~VirtualLayer() = default;

  // `.compute`, `.results`, `.query` or what this mount calls them. Cheap.
  virtual bool is_reserved(std::string_view name) const = 0;

  // LOOKUP of a reserved name in `parent`. The implementation first asks whether the backing has a
  // real entry of that name (it wins).
  virtual bool lookup(Request& request, Inode& parent, std::string_view name) = 0;
  // CREATE, MKNOD, MKDIR, SYMLINK, LINK (new name), UNLINK, RMDIR of a reserved name in `parent`.
  virtual bool change(Request& request, Inode& parent, std::string_view name) = 0;
  // RENAME, RENAME2 where either name is reserved.
  virtual bool rename(Request& request, Inode& from, std::string_view old_name, Inode& to,
                      std::string_view new_name, uint32_t flags) = 0;
  // Every opcode, but FORGET, INTERRUPT and BATCH_FORGET, whose node is virtual.
  virtual void handle(Request& request) = 0;
  virtual void forget(uint64_t node, uint64_t lookups) = 0;
  // Whether this ordinary node answers ESTALE until its dentry is dropped (it was renamed onto
  // `.compute`). Asked only while `has_stale()`.
  virtual bool is_stale(uint64_t node) const = 0;
  virtual bool has_stale() const = 0;
  // For a mount that lists reserved names: those of `directory` that are virtual. The same order
  // each time, and at most 16.
  virtual std::vector<ReservedEntry> reserved_entries(Inode& directory) const {
    (void)directory;
    return {};
  }
  // RMDIR of an ordinary directory succeeded.
  virtual void directory_removed(Inode& directory) = 0;

  // Of a graft with programs. `prepare` comes first, and may block: `root` (O_PATH) is the backing as
  // it was given, `identity` as of GraftRequest. `arrived`: it has its number, nobody has seen it yet, and
  // `root` (O_PATH) is what it is served through. `left`: nothing of it is answered any more.
  virtual void prepare(Tree& tree, int root, const std::string& backing,
                       const std::string& identity) = 0;
  virtual void arrived(const std::shared_ptr<Tree>& tree, int root) = 0;
  virtual void left(const Tree& tree) = 0;
  // A program was to be attached in a graft that has none.
  virtual void not_granted(const Inode& directory) = 0;
};

}  // namespace insitu
